// A menu under what opened it: arrows move, Enter takes, Escape closes and gives the focus back.

import { h, mount } from "./tree.js";

let open = null;

export function close() {
  open?.remove();
  open = null;
}

/** entries: {label, take, danger, note}. */
export function menu(anchor, entries, label = "More actions") {
  close();
  const leave = () => (close(), anchor.focus());
  const take = (entry) => (leave(), entry.take());
  const made = mount(h("div", { class: "menu", role: "menu", "aria-label": label }, entries.map((entry) =>
    h("button", { type: "button", role: "menuitem", tabindex: "-1", class: entry.danger ? "danger" : "", onclick: () => take(entry) }, entry.label, entry.note && h("small", null, entry.note)))));
  made.addEventListener("keydown", (event) => {
    const items = [...made.children];
    const at = items.indexOf(document.activeElement);
    const next = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: items.length - 1 }[event.key];
    if (next !== undefined) items.at(next % items.length).focus();
    else if (event.key === "Escape" || event.key === "Tab") leave();
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  (anchor.closest("dialog") ?? document.body).append(made);
  const box = anchor.getBoundingClientRect();
  const top = box.bottom + made.offsetHeight + 8 > innerHeight ? Math.max(8, box.top - made.offsetHeight - 4) : box.bottom + 4;
  made.style.top = `${top}px`;
  made.style.left = `${Math.max(8, Math.min(box.left, innerWidth - made.offsetWidth - 8))}px`;
  open = made;
  made.firstElementChild?.focus();
}

addEventListener("pointerdown", (event) => open && !open.contains(event.target) && close());
