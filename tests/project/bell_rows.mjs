// What a bell makes of snapshots, pages, events and acts, in whatever order they come.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Rows } from "../../npm/src/inbox/rows.js";

const row = (number, state, version = 1) => ({ id: `${number}`, number, version, state, html: `text ${number}` });
const short = (number, state, version) => ({ id: `${number}`, number, version, state });
const counts = (unseen, unread) => ({ unseen, unread });
const shown = (rows) => rows.list.map(({ id, state }) => `${id} ${state}`);

function rowsOf(notifications, { next = null, ...more } = {}) {
  const rows = new Rows();
  const unseen = notifications.filter(({ state }) => state === "unseen").length;
  rows.replace({ notifications, counts: counts(unseen, unseen), next, ...more });
  return rows;
}

test("an older version is ignored, whatever brings it", () => {
  const rows = rowsOf([row(1, "read", 3)]);
  rows.take({ notifications: [short(1, "seen", 2)] });
  rows.take({ notifications: [row(1, "unseen", 1)] });
  assert.deepEqual(shown(rows), ["1 read"]);
});

test("what left the list is not brought back by a page that was read before", async () => {
  const rows = rowsOf([row(9, "read")], { next: "/inbox/?before=9" });
  await rows.more(async () => {
    rows.take({ notifications: [short(8, "archived", 2), short(7, "read", 2)] });
    return { notifications: [row(8, "unseen"), row(7, "unseen")], next: null };
  });
  assert.deepEqual(shown(rows), ["9 read", "7 read"]);
});

test("a page that is late after a snapshot is dropped", async () => {
  const rows = rowsOf([row(9, "read")], { next: "/inbox/?before=9" });
  await rows.more(async () => {
    rows.replace({ notifications: [row(10, "unseen")], counts: counts(1, 1), next: "/inbox/?before=10" });
    return { notifications: [row(8, "unseen")], next: null };
  });
  assert.deepEqual(shown(rows), ["10 unseen"]);
  assert.equal(rows.next, "/inbox/?before=10");
});

test("what is new, or new again, is news; what is repeated is none", () => {
  const rows = rowsOf([row(1, "read"), row(2, "seen")]);
  const again = { ...row(3, "unseen", 2), id: "1" };
  assert.deepEqual(rows.take({ notifications: [row(4, "unseen"), again] }).news.length, 2);
  assert.deepEqual(rows.take({ notifications: [row(4, "unseen"), again] }).news.length, 0);
  assert.deepEqual(shown(rows), ["4 unseen", "1 unseen", "2 seen"]);
});

test("the content of what belongs between loaded rows is missing, and older rows wait for their page", () => {
  const rows = rowsOf([row(9, "read"), row(5, "read")], { next: "/inbox/?before=5" });
  const { missing } = rows.take({ notifications: [short(7, "seen", 2), short(3, "seen", 2), short(6, "archived", 2)] });
  assert.deepEqual(missing, ["7"]);
});

test("what is deleted has no version, and leaves the list", () => {
  const rows = rowsOf([row(1, "read", 3)]);
  rows.take({ notifications: [{ id: "1", state: "deleted" }] });
  assert.deepEqual(shown(rows), []);
});

test("an act shows at once, and is taken back if the server does not do it", () => {
  const rows = rowsOf([row(2, "unseen"), row(1, "unseen")]);
  const act = rows.begin("archive", { ids: ["2"] });
  assert.deepEqual([shown(rows), rows.counts], [["1 unseen"], counts(1, 1)]);
  rows.end(act);
  assert.deepEqual([shown(rows), rows.counts], [["2 unseen", "1 unseen"], counts(2, 2)]);
});

test("an act stays between its answer and its event", () => {
  const rows = rowsOf([row(1, "unseen")]);
  rows.end(rows.begin("read", { ids: ["1"] }), counts(0, 0));
  assert.deepEqual([shown(rows), rows.counts], [["1 read"], counts(0, 0)]);
});

test("an answer that is later than an event of what came after the act changes nothing", () => {
  const rows = rowsOf([row(1, "seen")]);
  const act = rows.begin("read", { up_to: 1 });
  rows.take({ notifications: [short(1, "seen", 3)], counts: counts(0, 1) }); // read, and unread again
  rows.end(act, counts(0, 0));
  assert.deepEqual([shown(rows), rows.counts], [["1 seen"], counts(0, 1)]);
});

test("up to here is about rows that are not loaded, and not about what comes meanwhile", () => {
  const rows = rowsOf([row(9, "unseen")], { next: "/inbox/?before=9", counts: counts(50, 60) });
  rows.begin("seen", { up_to: rows.highest });
  assert.deepEqual(rows.counts, counts(0, 60));
  rows.take({ notifications: [row(10, "unseen")], counts: counts(51, 61) });
  assert.deepEqual(rows.counts, counts(1, 61));
});
