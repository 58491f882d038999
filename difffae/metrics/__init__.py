"""How good an output is: measurements on pixels and re-measured faces, for `difffae.evaluate`."""
