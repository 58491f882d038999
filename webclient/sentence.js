/** A server's message as a sentence of the page: a capital letter first, a full stop last. */
export function sentence(message) {
  const text = message.trim();
  return text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?…]$/.test(text) ? "" : ".");
}
