// The form in front of a person, and questions before something is done. A native dialog keeps the focus inside and
// everything else out of reach.

import { fill, h, mount } from "./tree.js";
import { blocks } from "./blocks.js";
import { entry } from "./inputs.js";
import { plain } from "./mrkdwn.js";

const dialog = () => document.getElementById("modal");
let shown = null;
let errors = {};
const typed = new Map();

const keep = () => dialog().querySelectorAll("[data-block][data-type]").forEach((c) => typed.set(`${c.dataset.block}/${c.dataset.action}`, entry(c)));

const server = (view, block, element) => {
  const value = view.state?.values?.[block.block_id]?.[element.action_id];
  if (!value) return undefined;
  const found = value.value ?? value.selected_option?.value ?? value.selected_options?.map((o) => o.value) ?? value.selected_user ?? value.selected_users ?? value.selected_date ?? value.selected_time ?? value.selected_channel ?? value.selected_conversation;
  return found ?? (value.selected_date_time ? String(value.selected_date_time) : undefined);
};

/** Show a view, or none. ctx: what blocks are drawn with, and {submit(view, values) -> {ok, error, errors}, close(view)}. */
export function show(view, ctx) {
  const box = dialog();
  if (!view) {
    shown = null;
    typed.clear();
    if (box.open) box.close();
    return;
  }
  if (shown?.id === view.id && shown.hash === view.hash) return;
  if (shown?.id === view.id) keep();
  else typed.clear();
  errors = {};
  shown = view;
  draw(ctx);
  if (!box.open) box.showModal();
  if (!box.contains(document.activeElement) || document.activeElement === box) first(box)?.focus();
}

const first = (box) => box.querySelector("form input, form textarea, form select, form button");

function draw(ctx, complaint = "") {
  const view = shown;
  const own = { ...ctx, errors, typed: (b, e) => (typed.has(`${b.block_id}/${e.action_id}`) ? typed.get(`${b.block_id}/${e.action_id}`) : server(view, b, e)) };
  fill(dialog(), h("form", { novalidate: true, onsubmit: (event) => (event.preventDefault(), send(ctx)) },
    h("header", null, h("h2", { id: "modal-title" }, plain(view.title.text)), h("button", { type: "button", class: "x", "aria-label": "Close", "data-key": "modal-x", onclick: () => ctx.close(view) }, "✕")),
    h("div", { class: "content" }, complaint && h("p", { class: "complaint banner", role: "alert" }, complaint), blocks(view.blocks, own)),
    h("footer", null, h("button", { type: "button", class: "button", "data-key": "modal-close", onclick: () => ctx.close(view) }, plain(view.close?.text ?? "Close")),
      view.submit && h("button", { type: "submit", class: "button primary", "data-key": "modal-submit" }, plain(view.submit.text)))));
}

async function send(ctx) {
  const view = shown;
  keep();
  const values = {};
  dialog().querySelectorAll("[data-block][data-type]").forEach((c) => (values[c.dataset.block] = entry(c)));
  dialog().setAttribute("aria-busy", "true");
  const seen = await ctx.submit(view, values);
  dialog().removeAttribute("aria-busy");
  if (seen.ok || shown !== view) return;
  errors = seen.errors ?? {};
  draw(ctx, Object.keys(errors).length ? "" : seen.error || "It was not taken.");
  (dialog().querySelector('[aria-invalid="true"]') ?? first(dialog()))?.focus();
}

/** Ask before something is done; true for yes. confirm: Slack's confirmation object. */
export function ask(confirm) {
  return new Promise((resolve) => {
    const back = document.activeElement;
    const done = (yes) => (box.close(), box.remove(), back?.focus(), resolve(yes));
    const text = (value) => plain(value.text);
    const box = mount(h("dialog", { class: "ask", role: "alertdialog", "aria-labelledby": "ask-title", oncancel: (event) => (event.preventDefault(), done(false)) },
      h("header", null, h("h2", { id: "ask-title" }, text(confirm.title))), h("div", { class: "content" }, h("p", null, text(confirm.text))),
      h("footer", null, h("button", { type: "button", class: "button", onclick: () => done(false) }, text(confirm.deny ?? { text: "Cancel" })),
        h("button", { type: "button", class: `button ${confirm.style === "danger" ? "danger" : "primary"}`, onclick: () => done(true) }, text(confirm.confirm ?? { text: "Yes" })))));
    document.body.append(box);
    box.showModal();
  });
}
