"""Videos and stills to shards, and shards to training samples; reading needs no tracker."""
