// What the page makes of Slack's markup, of blocks and of events. Run by tests/playground/test_page.py, or `node --test`.

import assert from "node:assert/strict";
import { test } from "node:test";
import { pathToFileURL } from "node:url";

const part = (name) => import(pathToFileURL(`${process.env.PAGE}/${name}`));
const { all, textOf } = await part("tree.js");
const { mrkdwn, plain } = await part("mrkdwn.js");
const { blocks } = await part("blocks.js");
const { offers, meant } = await part("composer.js");
const { initial } = await part("inputs.js");
const store = await part("store.js");

const names = { user: (id) => ({ U1: "ana" })[id] ?? id, group: () => "oncall", channel: () => "inc-1", mine: (id) => id === "U1" };
const told = [];
const ctx = { names, file: (url) => `files/${url}`, does: { press: (e) => told.push(["press", e.action_id]), menu: (e) => told.push(["menu", e.action_id]), pick: (e, b, v) => told.push(["pick", v]) } };
const tags = (tree, tag) => all(tree, (n) => n.tag === tag);
const text = (value) => ({ type: "plain_text", text: value });

test("markup becomes bold, code, links and mentions, and nothing else", () => {
  const tree = mrkdwn("*Stop* `a*b*c` <https://x.example|there> <@U1> 2 * 3 * 4", names);
  assert.equal(textOf(tree), "Stop a*b*c there @ana 2 * 3 * 4");
  assert.deepEqual(tags(tree, "b").map(textOf), ["Stop"]);
  assert.deepEqual(tags(tree, "code").map(textOf), ["a*b*c"]);
  assert.equal(tags(tree, "a")[0].attrs.href, "https://x.example");
  assert.equal(all(tree, (n) => n.attrs.class === "mention mine").length, 1);
});

test("what was escaped is shown, and never becomes an element", () => {
  const tree = mrkdwn("&lt;script&gt;alert(1)&lt;/script&gt; &amp; <javascript:alert(1)|press>", names);
  assert.equal(textOf(tree), "<script>alert(1)</script> & press");
  assert.equal(tags(tree, "a").length + tags(tree, "script").length, 0);
});

test("a date is shown in the reader's zone, and a broken one as its fallback", () => {
  const [at] = tags(mrkdwn("<!date^1700000000^{date_num} {time}|then>", names), "time");
  assert.equal(at.attrs.datetime, "2023-11-14T22:13:20.000Z");
  assert.match(textOf(at), /^2023-11-1\d /);
  assert.equal(textOf(mrkdwn("<!date^x^{time}|then>", names)), "then");
});

test("quotes, preformatted text and emoji stand as such; an unknown emoji stays as it is written", () => {
  const tree = mrkdwn("&gt; said\n&gt; twice\n```a\n b```\n:warning: :nonesuch:", names);
  assert.equal(tags(tree, "blockquote").length, 1);
  assert.equal(textOf(tags(tree, "pre")), "a\n b");
  assert.equal(all(tree, (n) => n.attrs.role === "img")[0].attrs["aria-label"], "warning");
  assert.match(textOf(tree), /:nonesuch:/);
  assert.equal(textOf(plain("*a*")), "*a*");
});

test("a plan says each task's state in words", () => {
  const tasks = ["pending", "in_progress", "complete", "error"].map((status, i) => ({ type: "task_card", task_id: `t${i}`, title: `T${i}`, status }));
  const tree = blocks([{ type: "plan", title: "1 of 4", tasks }], ctx);
  assert.deepEqual(tags(tree, "li").map(textOf).map((t) => t.match(/\((.*)\)/)[1]), ["to do", "under way", "done", "failed"]);
});

test("a button tells what was pressed, a menu what was opened, a link goes out", () => {
  const elements = [{ type: "button", action_id: "go", text: text("Go"), style: "danger" }, { type: "overflow", action_id: "more", options: [] }, { type: "button", action_id: "out", text: text("Out"), url: "https://x.example" }];
  const tree = blocks([{ type: "actions", block_id: "b", elements }], ctx);
  const [go, more] = tags(tree, "button");
  go.attrs.onclick();
  more.attrs.onclick({});
  assert.deepEqual(told, [["press", "go"], ["menu", "more"]]);
  assert.match(go.attrs.class, /danger/);
  assert.equal(more.attrs["aria-haspopup"], "menu");
  assert.equal(tags(tree, "a")[0].attrs.rel, "noreferrer noopener");
});

test("a table has its first row as head, whatever its cells are", () => {
  const rich = { type: "rich_text", elements: [{ type: "rich_text_section", elements: [{ type: "text", text: "pass", style: { bold: true } }] }] };
  const tree = blocks([{ type: "table", rows: [[{ type: "raw_text", text: "check" }], [rich]], column_settings: [{ is_wrapped: true }] }], ctx);
  assert.equal(textOf(tags(tree, "th")), "check");
  assert.equal(textOf(tags(tree, "td")), "pass");
  assert.equal(tags(tree, "b").length, 1);
});

test("an input has a label, and what is wrong with it stands under it and is tied to it", () => {
  const block = { type: "input", block_id: "why", label: text("Why"), hint: text("For others"), element: { type: "plain_text_input", action_id: "v", multiline: true, initial_value: "so" } };
  const tree = blocks([block], { ...ctx, errors: { why: "Too short." } });
  const [area] = tags(tree, "textarea");
  assert.equal(area.attrs.value, "so");
  assert.equal(area.attrs["aria-invalid"], "true");
  assert.equal(area.attrs["aria-describedby"], "in-why-v-wrong in-why-v-hint");
  assert.equal(tags(tree, "label")[0].attrs.for, area.attrs.id);
});

test("every kind of choice starts with what the app chose", () => {
  const o = (value) => ({ text: text(value), value });
  assert.equal(initial({ type: "static_select", initial_option: o("a") }), "a");
  assert.deepEqual(initial({ type: "checkboxes", initial_options: [o("a"), o("b")] }), ["a", "b"]);
  assert.equal(initial({ type: "datetimepicker", initial_date_time: 5 }), "5");
  const tree = blocks([{ type: "input", block_id: "r", label: text("R"), element: { type: "radio_buttons", action_id: "v", options: [o("a"), o("b")], initial_option: o("b") } }], ctx);
  assert.deepEqual(tags(tree, "input").map((i) => i.attrs.checked), [false, true]);
  assert.equal(tags(tree, "legend").length, 1);
});

test("a block that is not known is named and does no harm", () => {
  assert.equal(textOf(blocks([{ type: "hologram" }], ctx)), "[hologram]");
});

const app = { name: "Rollback", commands: [{ name: "/rollback", hint: "shop" }] };
const people = [{ name: "ana", real_name: "Ana" }, { name: "approvers", real_name: "Approvers" }, { name: "ben", real_name: "Ben" }];

test("a slash offers commands, an at sign people, and a plain word nothing", () => {
  assert.deepEqual(offers("/ro", app, people).entries.map((e) => e.insert), ["/rollback "]);
  assert.deepEqual(offers("hi @a", app, people), { from: 3, entries: [{ insert: "@ana ", label: "@ana", note: "Ana" }, { insert: "@approvers ", label: "@approvers", note: "Approvers" }] });
  assert.equal(offers("mail a@b", app, people).entries.length, 0);
  assert.equal(offers("/rollback shop", app, people).entries.length, 0);
});

test("a line is a command or a message", () => {
  assert.deepEqual(meant("/rollback shop because x ", app), { verb: "slash", args: { command: "/rollback", text: "shop because x" } });
  assert.deepEqual(meant(" hello ", app), { verb: "say", args: { text: "hello" } });
  assert.deepEqual(meant("/ 2", app).verb, "say");
  assert.equal(meant("  \n", app), null);
});

const said = (ts, more = {}) => ({ channel: "C1", ts, user: "U2", ...more });
const before = () => {
  const state = store.nothing();
  store.take(state, "everything", { me: "U1", users: [], groups: [], channels: [{ id: "C1", name: "inc", kind: "channel" }], app, messages: [said("1.0"), said("2.0", { thread_ts: "1.0" })], modal: null, home: null, world: null });
  return state;
};

test("answers stand in their thread, and what came since is unread", () => {
  const state = before();
  assert.deepEqual(store.heads(state, "C1").map((m) => m.ts), ["1.0"]);
  assert.deepEqual(store.replies(state, "C1", "1.0").map((m) => m.ts), ["2.0"]);
  assert.equal(store.unread(state, "C1"), 0);
  store.take(state, "message", said("3.0"));
  store.take(state, "message", said("4.0", { user: "U1" }));
  assert.equal(store.unread(state, "C1"), 1);
});

test("a changed message replaces the old one, and one that is gone leaves nothing", () => {
  const state = before();
  assert.equal(store.take(state, "message", said("1.0", { text: "new" })).before.ts, "1.0");
  assert.equal(store.heads(state, "C1").length, 1);
  store.take(state, "gone", { channel: "C1", ts: "1.0" });
  assert.equal(store.heads(state, "C1").length, 0);
});

test("only messages of one person close together share a picture", () => {
  assert.equal(store.follows(said("100.0"), said("90.0")), true);
  assert.equal(store.follows(said("1000.0"), said("90.0")), false);
  assert.equal(store.follows(said("100.0", { user: "U1" }), said("90.0")), false);
  assert.equal(store.follows(said("100.0"), said("90.0", { reply_count: 2 })), false);
});
