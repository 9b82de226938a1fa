// The page: who one is, where one looks, what has changed, and what one does about it.

import { fill, h, icon, swap, textOf } from "./tree.js";
import { blocks } from "./blocks.js";
import { body, day, message } from "./message.js";
import { Composer } from "./composer.js";
import { Inspector, world } from "./panel.js";
import * as forms from "./modal.js";
import * as store from "./store.js";
import { menu } from "./menu.js";

const $ = (id) => document.getElementById(id);
const HOME = "home";
const state = store.nothing();
let [me, place] = decodeURIComponent(location.hash.slice(1)).split("/");
let thread = null;
let stream = null;

// -- the way to the workspace -------------------------------------------------------------------------------------------

async function post(path, content) {
  try {
    const answer = await fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(content) });
    return answer.headers.get("Content-Type")?.includes("json") ? await answer.json() : { ok: false, error: await answer.text(), errors: {} };
  } catch {
    return { ok: false, error: "The playground does not answer: is it still running?", errors: {} };
  }
}

async function act(verb, args) {
  const seen = await post(`do/${verb}`, { as: me, ...args });
  if (!seen.ok && seen.error) toast(seen.error);
  return seen;
}

function connect() {
  stream?.close();
  stream = new EventSource(`stream?as=${encodeURIComponent(me)}`);
  for (const name of ["everything", "message", "gone", "views", "around", "world"]) stream.addEventListener(name, (event) => heard(store.take(state, name, JSON.parse(event.data))));
  stream.onerror = () => (document.body.dataset.away = "yes");
  stream.onopen = () => delete document.body.dataset.away;
}

function heard(news) {
  if (news.kind === "everything") {
    if (!state.channels.some((c) => c.id === place) && place !== HOME) place = state.channels.find((c) => c.name === "inc-4211")?.id ?? state.channels[0]?.id;
    people();
    all();
  } else if (news.kind === "around") side();
  else if (news.kind === "world") around();
  else if (news.kind === "views") forms.show(state.modal, formCtx()), place === HOME && list();
  else changed(news);
}

// -- what is shown ------------------------------------------------------------------------------------------------------

const names = () => store.names(state);
const fileOf = (url) => (url ? `files/${(url.match(/files-pri\/[^-/]+-([^/]+)/) ?? [null, url])[1]}` : "");

function ctx() {
  const does = {
    thread: (m) => openThread(m.thread_ts ?? m.ts),
    react: (m, emoji, on = !m.reactions?.some((r) => r.name === emoji && r.users.includes(state.me))) => act("react", { channel: m.channel, target: m.ts, emoji, on }),
    tools: (m, event) => menu(event.currentTarget, state.app.shortcuts.map((s) => ({ label: s.name, note: state.app.name, take: () => act("shortcut", { channel: m.channel, target: m.ts, callback: s.id }) }))),
  };
  return { state, names: names(), file: fileOf, of: (m) => drawn(m.ts), does };
}

/** What blocks are drawn with that stand in a message or a view. */
function drawn(target) {
  const sure = async (confirm) => !confirm || (await forms.ask(confirm));
  const does = {
    press: async (e, block) => {
      if (!(await sure(e.confirm))) return;
      const button = document.activeElement?.dataset?.action === e.action_id ? document.activeElement : null;
      button?.setAttribute("aria-busy", "true");
      await act("click", { target, action: e.action_id, block: block.block_id });
      button?.removeAttribute("aria-busy");
    },
    menu: (e, block, event) => menu(event.currentTarget, e.options.map((o) => ({ label: o.text.text, note: o.description?.text, take: async () => (await sure(e.confirm)) && act("overflow", { target, action: e.action_id, value: o.value }) }))),
    pick: (e, block, value) => (block.bare || block.dispatch_action) && act("select", { target, action: e.action_id, value }),
  };
  return { names: names(), file: fileOf, does, people: () => persons().map((u) => ({ id: u.id, label: `${u.real_name} (@${u.name})` })), places: () => state.channels.map((c) => ({ id: c.id, label: `#${c.name}` })) };
}

function formCtx() {
  return { ...drawn(state.modal?.id), submit: (view, values) => act("submit", { view: view.id, values }), close: () => act("close", {}) };
}

const persons = () => [...state.users.values()].filter((u) => u.kind === "person" || u.kind === "guest");

function people() {
  fill($("me"), persons().map((u) => h("option", { value: u.name, selected: u.id === state.me }, `${u.real_name}${u.groups.length ? ` · ${u.groups.join(", ")}` : u.kind === "guest" ? " · guest" : ""}`)));
}

function all() {
  side();
  head();
  list();
  answers();
  around();
  forms.show(state.modal, formCtx());
}

function side() {
  const link = (id, sign, name, count) => h("li", null, h("button", { type: "button", class: count ? "unread" : "", "aria-current": place === id ? "page" : null, "data-key": `c-${id}`, onclick: () => go(id) },
    h("span", { class: "sign", "aria-hidden": "true" }, sign), h("span", { class: "name" }, name), count > 0 && h("span", { class: "count", "aria-label": `${count} unread` }, count)));
  const talk = state.channels.filter((c) => c.kind === "channel");
  const direct = state.channels.filter((c) => c.kind !== "channel");
  fill($("side"), h("h2", null, "Channels"), h("ul", null, talk.map((c) => link(c.id, c.private ? icon("lock") : "#", c.name, store.unread(state, c.id)))),
    direct.length > 0 && [h("h2", null, "Direct messages"), h("ul", null, direct.map((c) => link(c.id, "●", store.titled(state, c), store.unread(state, c.id))))],
    state.app.home && [h("h2", null, "Apps"), h("ul", null, link(HOME, "⌂", state.app.name, 0))]);
  const waiting = state.channels.reduce((sum, c) => sum + store.unread(state, c.id), 0);
  document.title = `${waiting ? `(${waiting}) ` : ""}${here().title} · Playground`;
}

function here() {
  if (place === HOME) return { title: state.app.name ?? "", about: "Home" };
  const c = state.channels.find((each) => each.id === place);
  if (!c) return { title: "", about: "" };
  return { title: `${c.kind === "im" ? "" : c.private ? "" : "# "}${store.titled(state, c)}`, about: c.kind === "im" ? "" : `${c.members} members${c.shared ? " · shared with another company" : ""}${c.topic ? ` · ${c.topic}` : ""}` };
}

function head() {
  const { title, about } = here();
  $("title").textContent = title;
  $("about").textContent = about;
  $("say").hidden = place === HOME;
  const area = $("say").querySelector("textarea");
  area.placeholder = area.ariaLabel = `Message ${title.replace("# ", "#")}`;
}

const low = (box) => box.scrollHeight - box.scrollTop - box.clientHeight < 80;
const down = (box) => (box.scrollTop = box.scrollHeight);

function list() {
  const box = $("messages");
  if (place === HOME) {
    fill(box, state.home ? h("div", { class: "home" }, blocks(state.home.blocks, drawn(state.home.id))) : h("p", { class: "empty" }, "The app has not drawn its home tab yet."));
    return;
  }
  const found = store.heads(state, place);
  fill(box, found.length ? rows(found) : h("p", { class: "empty" }, "Nothing has been said here yet. Try /rollback help"));
  down(box);
  seen();
}

function rows(found, inThread = false) {
  const dayOf = (m) => m && new Date(Number(m.ts) * 1000).toDateString();
  return found.flatMap((m, i) => [!inThread && dayOf(m) !== dayOf(found[i - 1]) && day(m.ts), row(m, found[i - 1], inThread)]).filter(Boolean);
}

const row = (m, before, inThread) => message(m, ctx(), { close: store.follows(m, before), inThread, answers: inThread ? [] : store.replies(state, m.channel, m.ts) });

function answers() {
  const root = thread && state.messages.get(`${place}/${thread}`);
  $("thread").hidden = !root;
  document.body.classList.toggle("threaded", Boolean(root));
  if (!root) return;
  const found = store.replies(state, place, thread);
  $("thread-about").textContent = here().title;
  const count = h("div", { class: "day", role: "separator" }, h("span", null, `${found.length} ${found.length === 1 ? "reply" : "replies"}`));
  fill($("answers"), row(root, null, true), count, rows(found, true));
}

function changed({ kind, message: m, before }) {
  if (kind === "message" && !before) announce(m);
  if (m.channel === place) {
    const reply = store.isReply(before ?? m);
    refresh($("messages"), reply ? state.messages.get(`${m.channel}/${(before ?? m).thread_ts}`) : m, kind === "gone" && !reply, () => store.heads(state, place), false);
    if (thread && [m.ts, m.thread_ts, before?.thread_ts].includes(thread)) {
      const box = $("answers");
      const atEnd = low(box);
      if (before && kind === "message") refresh(box, m, false, () => [state.messages.get(`${place}/${thread}`), ...store.replies(state, place, thread)], true);
      else answers();
      if (atEnd) down(box);
    }
  }
  side();
}

/** Draw one message again where it stands, or put it at the end; everything, where it belongs in between. */
function refresh(box, m, gone, listed, inThread) {
  if (!m || gone) return list();
  const found = listed();
  const i = found.findIndex((each) => each.ts === m.ts);
  const there = box.querySelector(`article[data-ts="${m.ts}"]`);
  const atEnd = low(box);
  if (there) swap(there, row(m, found[i - 1], inThread));
  else list();
  if (atEnd) down(box);
  if (!inThread) seen();
}

function seen() {
  const last = store.heads(state, place).at(-1);
  if (last && document.visibilityState === "visible") state.read.set(place, last.ts);
}

function announce(m) {
  if (m.user === state.me) return;
  const said = body(m, ctx()).map(textOf).join(" ").replaceAll(/\s+/g, " ").slice(0, 160);
  $("news").textContent = `${names().user(m.user)} in ${names().channel(m.channel)}: ${said}`;
}

function around() {
  const now = state.world;
  $("world-open").hidden = !now?.switches;
  if (!now?.switches) return;
  const bad = now.payments.total && now.payments.failed / now.payments.total > 0.1;
  const off = now.switches.filter((s) => s.on).map((s) => s.title);
  $("weather").textContent = [now.payments.total ? `${now.payments.failed} of ${now.payments.total} payments fail` : "nobody pays", now.bot !== "runs" && "the bot is down", ...off].filter(Boolean).join(" · ");
  $("weather").className = bad || off.length ? "bad" : "";
  if (!$("panel").hidden) world($("world"), now, turn);
}

async function turn(id, on) {
  const seenNow = await post(`world/${id}`, { on });
  if (!seenNow.ok) toast(seenNow.error);
}

function toast(text) {
  $("toast").hidden = false;
  $("toast").textContent = text;
  clearTimeout(toast.timer);
  toast.timer = setTimeout(() => ($("toast").hidden = true), 6000);
}

// -- what a person does -------------------------------------------------------------------------------------------------

function remember() {
  history.replaceState(null, "", `#${encodeURIComponent(me)}/${place}`);
}

function go(id) {
  place = id;
  thread = null;
  remember();
  document.body.classList.remove("placing");
  $("places").ariaExpanded = "false";
  all();
  if (id === HOME) act("home", {});
  else $("say").querySelector("textarea").focus({ preventScroll: true });
}

/** Go to one message, in its thread where it has one. */
function show(channel, ts) {
  const m = state.messages.get(`${channel}/${ts}`);
  go(channel);
  if (m?.thread_ts || store.replies(state, channel, ts).length) openThread(m.thread_ts ?? ts);
  const there = [...document.querySelectorAll(`article[data-ts="${ts}"]`)].at(-1);
  there?.scrollIntoView({ block: "center" });
  there?.querySelector("button, a")?.focus({ preventScroll: true });
}

function openThread(ts) {
  thread = ts;
  answers();
  down($("answers"));
  $("reply").querySelector("textarea").focus();
}

function closeThread() {
  const from = thread;
  thread = null;
  answers();
  document.querySelector(`[data-key="${from}-thread"]`)?.focus();
}

function panel(open) {
  $("panel").hidden = !open;
  document.body.classList.toggle("panelled", open);
  $("world-open").ariaExpanded = String(open);
  if (open) inspector.start(), around();
  else inspector.stop(), $("world-open").focus();
}

const inspector = new Inspector($("traffic"), async (after) => (await fetch(`traffic?after=${after}`)).json());
const talked = () => ({ app: state.app, people: [...persons(), ...[...state.groups.values()].map((g) => ({ name: g.handle, real_name: g.name }))] });
const send = (extra) => async ({ verb, args }) => (await act(verb, { channel: place, ...args, ...(verb === "say" ? extra() : {}) })).ok;
new Composer($("say"), talked, send(() => ({})));
new Composer($("reply"), talked, send(() => ({ thread })));

$("me").addEventListener("change", () => ((me = $("me").value), (thread = null), remember(), connect()));
$("thread-close").addEventListener("click", closeThread);
$("thread").addEventListener("keydown", (event) => event.key === "Escape" && closeThread());
$("world-open").addEventListener("click", () => panel($("panel").hidden));
$("panel-close").addEventListener("click", () => panel(false));
$("places").addEventListener("click", () => ($("places").ariaExpanded = String(document.body.classList.toggle("placing"))));
$("modal").addEventListener("cancel", (event) => (event.preventDefault(), act("close", {})));
document.addEventListener("click", (event) => {
  const [, channel, whole, parts] = event.target.closest?.("a")?.href.match(/\/archives\/(\w+)\/p(\d+)(\d{6})/) ?? [];
  if (!channel || !state.channels.some((c) => c.id === channel)) return;
  event.preventDefault(); // a link to a message of this workspace
  show(channel, `${whole}.${parts}`);
});
document.addEventListener("visibilitychange", () => (seen(), side()));

me ||= "ana";
connect();
