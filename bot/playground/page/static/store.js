// What the page knows of the workspace, and how an event changes it. Pure: it touches no document.

/** Nothing known yet. */
export const nothing = () => ({ me: "", users: new Map(), groups: new Map(), channels: [], app: {}, messages: new Map(), modal: null, home: null, world: null, read: new Map() });

/** Takes an event in, and says what it touched: {kind, message, before}. */
export function take(state, name, data) {
  if (name === "everything") {
    around(state, data);
    state.me = data.me;
    state.messages = new Map(data.messages.map((m) => [key(m), m]));
    state.modal = data.modal;
    state.home = data.home;
    state.world = data.world;
    state.read = new Map(state.channels.map((c) => [c.id, heads(state, c.id).at(-1)?.ts ?? "0"]));
    return { kind: "everything" };
  }
  if (name === "around") return around(state, data), { kind: "around" };
  if (name === "views") return Object.assign(state, data), { kind: "views" };
  if (name === "world") return (state.world = data), { kind: "world" };
  const before = state.messages.get(key(data));
  if (name === "gone") return state.messages.delete(key(data)), { kind: "gone", message: data, before };
  state.messages.set(key(data), data);
  return { kind: "message", message: data, before };
}

function around(state, data) {
  state.users = new Map(data.users.map((u) => [u.id, u]));
  state.groups = new Map(data.groups.map((g) => [g.id, g]));
  state.channels = data.channels;
  state.app = data.app;
}

export const key = (m) => `${m.channel}/${m.ts}`;

export const isReply = (m) => Boolean(m.thread_ts) && m.thread_ts !== m.ts;

const sorted = (found) => found.sort((a, b) => (a.ts < b.ts ? -1 : 1));

const stands = (state, channel) => [...state.messages.values()].filter((m) => m.channel === channel);

/** What stands in a channel itself, oldest first. */
export const heads = (state, channel) => sorted(stands(state, channel).filter((m) => !isReply(m) || m.subtype === "thread_broadcast"));

/** What was answered to a message, oldest first. */
export const replies = (state, channel, ts) => sorted(stands(state, channel).filter((m) => isReply(m) && m.thread_ts === ts));

/** How many messages of others came after what was read, the page's own person left out. */
export const unread = (state, channel) => heads(state, channel).filter((m) => m.ts > (state.read.get(channel) ?? "0") && m.user !== state.me).length;

/** id -> name, for the renderers. */
export function names(state) {
  return {
    user: (id) => state.users.get(id)?.name ?? id,
    group: (id) => state.groups.get(id)?.handle ?? id,
    channel: (id) => state.channels.find((c) => c.id === id)?.name ?? id,
    mine: (id) => id === state.me || (state.groups.get(id)?.users.includes(state.me) ?? false),
  };
}

/** What a channel is called, with its sign. */
export function titled(state, channel) {
  if (channel.kind === "im") return state.users.get(channel.with)?.name ?? channel.id;
  return channel.name;
}

/** Whether a message stands close enough under another of the same person to go without their picture. */
export function follows(message, before) {
  if (!before || before.user !== message.user || before.only_for || message.only_for || before.subtype !== message.subtype) return false;
  return Number(message.ts) - Number(before.ts) < 300 && !before.reply_count;
}
