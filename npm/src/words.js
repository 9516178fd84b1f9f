// What a status says in words.

const RESTARTING = "The server is restarting.";
const ENDINGS = {
  draining: RESTARTING,
  stopping: RESTARTING,
  starting: RESTARTING,
  signed_out: "You logged out.",
  user_changed: "This page was made for another user. Reload it.",
  permission_ended: "You may no longer subscribe to all of these topics.",
};

/** The reason for which the server ended a stream, as a sentence. */
export const ending = (reason) =>
  ENDINGS[reason] ?? `The server ended the stream: ${reason.replaceAll("_", " ")}.`;

/** The text of an error response: the `detail` of RFC 9457, or else its status. */
export async function problemDetail(response) {
  const problem = await response.json().catch(() => null);
  return problem?.detail || problem?.title || `The server answered ${response.status}.`;
}
