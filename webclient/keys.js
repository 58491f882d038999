/** Hot keys; silent while the user types, chooses from a list, or holds a modifier. */

const TYPING = "textarea, select, [contenteditable], input:not([type=checkbox], [type=radio], [type=range], [type=file])";

/** `actions`: by key, lower case; "digit" gets 1 to 9. */
export function listenToKeys(actions) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.repeat) return;
    if (event.target.closest?.(TYPING) || document.querySelector("dialog[open]")) return;
    if (/^[1-9]$/.test(event.key)) return actions.digit(Number(event.key));
    actions[event.key.toLowerCase()]?.();
  });
}
