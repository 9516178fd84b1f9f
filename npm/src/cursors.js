// Cursors, and how they compare.

/**
 * Below, above or equal to 0 as `first` is before, after or the same as `second`. NaN if they do not
 * compare: the text `1.<epoch>.<milliseconds>-<number>` has an order within one epoch alone.
 */
export function compare(first, second) {
  const [a, b] = [first, second].map((cursor) => /^1\.(\w+)\.(\d+)-(\d+)$/.exec(cursor ?? ""));
  if (!a || a[1] !== b?.[1]) return NaN;
  return Number(BigInt(a[2]) - BigInt(b[2]) || BigInt(a[3]) - BigInt(b[3]));
}
