// What people fill in: an input block with its label, hint and complaint, and the same elements bare in a message.
// https://docs.slack.dev/reference/block-kit/block-elements

import { h } from "./tree.js";
import { plain, textObject } from "./mrkdwn.js";

const TEXTS = { plain_text_input: "text", email_text_input: "email", url_text_input: "url", number_input: "text" };

/** An input block. ctx.typed(block, element): what was entered so far, as `entry` reads it; ctx.errors: by block_id. */
export function field(b, ctx) {
  const e = b.element;
  const id = `in-${b.block_id}-${e.action_id}`;
  const wrong = ctx.errors?.[b.block_id];
  const many = e.type === "checkboxes" || e.type === "radio_buttons";
  const described = [wrong && `${id}-wrong`, b.hint && `${id}-hint`].filter(Boolean).join(" ");
  const own = {
    id, name: id, "data-key": id, "data-block": b.block_id, "data-action": e.action_id, "data-type": e.type,
    "aria-invalid": wrong ? "true" : null, "aria-describedby": described || null,
    onchange: (event) => ctx.does.pick?.(e, b, entry(event.currentTarget)),
  };
  const shown = control(e, own, ctx.typed?.(b, e) ?? initial(e), ctx, b);
  if (b.bare) return [h("label", { class: "unseen", for: id }, b.label.text), shown];
  const label = [plain(b.label.text), b.optional && h("span", { class: "optional" }, " (optional)")];
  return h(many ? "fieldset" : "div", { class: `field ${wrong ? "wrong" : ""}`, "data-block": b.block_id, "data-optional": b.optional ? "yes" : null },
    many ? h("legend", null, label) : h("label", { for: id }, label), shown,
    wrong && h("p", { class: "complaint", id: `${id}-wrong` }, wrong),
    b.hint && h("p", { class: "hint", id: `${id}-hint` }, plain(b.hint.text)));
}

function control(e, own, now, ctx, b) {
  const placeholder = e.placeholder?.text ?? "";
  if (e.type in TEXTS) {
    const text = { ...own, placeholder, maxlength: e.max_length, value: now ?? "", autofocus: e.focus_on_load };
    return e.multiline ? h("textarea", { ...text, rows: 4 }) : h("input", { ...text, type: TEXTS[e.type] });
  }
  if (e.type === "checkboxes" || e.type === "radio_buttons") {
    const kind = e.type === "checkboxes" ? "checkbox" : "radio";
    const taken = [now].flat();
    return h("div", { ...own, onchange: own.onchange, class: "boxes", role: kind === "radio" ? "radiogroup" : "group" }, e.options.map((o, i) =>
      h("label", null, h("input", { type: kind, name: `${own.id}-box`, value: o.value, "data-key": `${own.id}-${i}`, checked: taken.includes(o.value) }),
        h("span", null, textObject(o.text, ctx.names), o.description && h("small", null, textObject(o.description, ctx.names))))));
  }
  if (e.type === "datepicker") return h("input", { ...own, type: "date", value: now ?? "" });
  if (e.type === "timepicker") return h("input", { ...own, type: "time", value: now ?? "" });
  if (e.type === "datetimepicker") return h("input", { ...own, type: "datetime-local", value: local(now) });
  const many = e.type.startsWith("multi_");
  const taken = [now].flat();
  const option = (o) => h("option", { value: o.value, selected: taken.includes(o.value) }, o.text.text);
  const groups = e.option_groups?.map((g) => h("optgroup", { label: g.label.text }, g.options.map(option)));
  const choices = groups ?? options(e, ctx).map(option);
  return h("select", { ...own, multiple: many }, !many && h("option", { value: "", selected: taken.every((t) => !t) }, placeholder || (b.bare ? b.label.text : "Choose")), choices);
}

function options(e, ctx) {
  if (e.options) return e.options;
  const listed = e.type.includes("users") ? ctx.people?.() : ctx.places?.();
  return (listed ?? []).map((each) => ({ value: each.id, text: { text: each.label } }));
}

/** What an element starts with, as `entry` would read it. */
export function initial(e) {
  const found = e.initial_value ?? e.initial_option?.value ?? e.initial_date ?? e.initial_time ?? e.initial_user ?? e.initial_users ??
    e.initial_conversation ?? e.initial_channel ?? e.initial_options?.map((o) => o.value) ?? (e.initial_date_time ? String(e.initial_date_time) : null);
  return found;
}

const local = (seconds) => {
  if (!seconds) return "";
  const at = new Date(Number(seconds) * 1000);
  return new Date(at.getTime() - at.getTimezoneOffset() * 60000).toISOString().slice(0, 16);
};

/** What stands in a control of the document now: a text, a list of texts, or null for nothing. */
export function entry(control) {
  const type = control.dataset.type;
  if (type === "checkboxes") return [...control.querySelectorAll("input:checked")].map((box) => box.value);
  if (type === "radio_buttons") return control.querySelector("input:checked")?.value ?? null;
  if (type === "datetimepicker") return control.value ? String(Math.floor(new Date(control.value).getTime() / 1000)) : null;
  if (control.multiple) return [...control.selectedOptions].map((o) => o.value);
  return control.value || null;
}
