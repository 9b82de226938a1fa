// A small tree of what is to be shown, and its way into the document. Renderers build the tree and touch no document,
// so that they can be tested without one.

/** One element. attrs: `on...` are listeners, true stands for an attribute without a value, null and false for none. */
export function h(tag, attrs, ...children) {
  return { tag, attrs: attrs ?? {}, children: children.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== false && c !== "") };
}

/** One of the drawn signs of style.css; whoever does not see it misses nothing. */
export const icon = (name) => h("span", { class: `icon ${name}`, "aria-hidden": "true" });

/** Everything that a tree says, without marks. */
export function textOf(node) {
  if (Array.isArray(node)) return node.map(textOf).join("");
  if (typeof node !== "object") return String(node);
  if (node.tag === "br") return "\n";
  return node.children.map(textOf).join("");
}

/** Every element in a tree for which this holds, in order. */
export function all(node, holds) {
  if (Array.isArray(node)) return node.flatMap((n) => all(n, holds));
  if (typeof node !== "object") return [];
  return [...(holds(node) ? [node] : []), ...node.children.flatMap((c) => all(c, holds))];
}

/** The tree as a node of the document. */
export function mount(node) {
  if (typeof node !== "object") return document.createTextNode(String(node));
  const made = document.createElement(node.tag);
  for (const [name, value] of Object.entries(node.attrs)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "value") made.value = value;
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...node.children.map(mount));
  return made;
}

/** Put trees in place of what an element has; what had the focus has it again, if it is still there. */
export function fill(element, ...trees) {
  const key = element.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
  element.replaceChildren(...trees.flat(Infinity).filter((t) => t !== null && t !== undefined && t !== false).map(mount));
  if (key) element.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus({ preventScroll: true });
}

/** Put one tree in the place of an element; the focus stays where it was, if it is still there. */
export function swap(element, tree) {
  const key = element.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
  const made = mount(tree);
  element.replaceWith(made);
  if (key) made.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus({ preventScroll: true });
  return made;
}
