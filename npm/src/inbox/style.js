// How the bell looks: a sheet that script makes, which a strict Content-Security-Policy allows.
// Light or dark is the `color-scheme` of the page.

export const style = `
:host {
  --accent: var(--carillon-accent, light-dark(#0b7261, #4cc9b0));
  --badge: var(--carillon-badge, light-dark(#c0272d, #ff8a80));
  --on-badge: var(--carillon-on-badge, light-dark(#fff, #2b0505));
  --surface: var(--carillon-surface, light-dark(#fff, #1a211f));
  --text: var(--carillon-text, light-dark(#16201d, #e4ebe8));
  --muted: var(--carillon-muted, light-dark(#566560, #9aaba5));
  --line: var(--carillon-line, light-dark(#e2e8e5, #2c3733));
  --radius: var(--carillon-radius, 12px);
  --soft: color-mix(in srgb, var(--accent) 8%, var(--surface));
  --hover: color-mix(in srgb, var(--text) 6%, transparent);
  display: inline-block;
  flex: none;
  line-height: 1.45;
}
:host([hidden]) { display: none; }
*, ::before, ::after { box-sizing: border-box; }
[hidden] { display: none !important; }
p, h2, ul { margin: 0; padding: 0; }
svg {
  display: block;
  width: 1.25rem;
  height: 1.25rem;
  fill: none;
  stroke: currentColor;
  stroke-width: 1.7;
  stroke-linecap: round;
  stroke-linejoin: round;
}
button {
  padding: 0;
  border: 0;
  background: none;
  color: inherit;
  font: inherit;
  cursor: pointer;
}
:focus-visible { outline: 2px solid var(--accent); outline-offset: -2px; }
[popover] {
  position: fixed;
  inset: auto;
  margin: 0;
  padding: 0;
  border: 0;
  overflow: visible;
  color: var(--text);
  font-weight: 400;
  letter-spacing: normal;
  text-align: start;
  text-transform: none;
  white-space: normal;
}
.visually-hidden {
  position: absolute;
  width: 1px;
  height: 1px;
  overflow: hidden;
  clip-path: inset(50%);
  white-space: nowrap;
}

#bell {
  position: relative;
  display: grid;
  place-items: center;
  width: 2.5rem;
  height: 2.5rem;
  border-radius: 50%;
}
#bell:hover, #bell[aria-expanded="true"] { background: var(--hover); }
#bell svg { width: 1.5rem; height: 1.5rem; }
[part="badge"] {
  position: absolute;
  top: 0.125rem;
  inset-inline-start: 1.25rem;
  min-width: 1.125rem;
  padding: 0 0.3125rem;
  border-radius: 1rem;
  background: var(--badge);
  color: var(--on-badge);
  font-size: 0.6875rem;
  font-weight: 700;
  line-height: 1.125rem;
  text-align: center;
}

#panel {
  width: min(var(--carillon-width, 24rem), 100vw - 1rem);
  border: 1px solid var(--line);
  border-radius: var(--radius);
  overflow: hidden;
  background: var(--surface);
  box-shadow: 0 1rem 2.5rem rgb(0 0 0 / 0.18), 0 2px 6px rgb(0 0 0 / 0.08);
  font-size: 0.875rem;
}
#panel:popover-open { display: flex; flex-direction: column; }
#panel:focus { outline: none; }
[part="header"] {
  display: flex;
  flex: none;
  align-items: center;
  justify-content: space-between;
  gap: 0.75rem;
  min-height: 3.25rem;
  padding: 0.5rem 0.625rem 0.5rem 1.375rem;
  border-bottom: 1px solid var(--line);
}
h2 { font-size: 1rem; font-weight: 650; letter-spacing: -0.01em; }
[part~="action"] {
  flex: none;
  padding: 0.375rem 0.5rem;
  border-radius: calc(var(--radius) / 2);
  color: var(--accent);
  font-size: 0.8125rem;
  font-weight: 550;
}
[part~="action"]:hover { background: var(--hover); }
#scroll { min-height: 0; overflow-y: auto; overscroll-behavior: contain; }
ul { list-style: none; }
[part~="item"] { position: relative; display: flex; align-items: start; }
[part~="item"] + [part~="item"] { border-top: 1px solid var(--line); }
[part~="unread"] { background: var(--soft); }
[part~="unread"]::before {
  content: "";
  position: absolute;
  top: 1.125rem;
  inset-inline-start: 0.5625rem;
  width: 0.4375rem;
  height: 0.4375rem;
  border-radius: 50%;
  background: var(--accent);
}
[part="link"] {
  flex: 1;
  min-width: 0;
  padding: 0.75rem 0.25rem 0.75rem 1.375rem;
  color: inherit;
  text-align: start;
  text-decoration: none;
  overflow-wrap: anywhere;
}
a[part="link"]:hover [part="text"] { text-decoration: underline; text-underline-offset: 0.2em; }
[part="text"], time { display: block; }
time { margin-top: 0.125rem; color: var(--muted); font-size: 0.8125rem; font-weight: 400; }
[part~="icon-button"] {
  display: grid;
  flex: none;
  place-items: center;
  width: 2.25rem;
  height: 2.25rem;
  margin: 0.375rem 0.375rem 0 0;
  border-radius: 50%;
  color: var(--muted);
}
[part~="icon-button"]:hover { background: var(--hover); color: var(--text); }
[part="more"] { display: block; width: 100%; padding: 0.75rem; border-top: 1px solid var(--line); color: var(--accent); font-weight: 550; }
[part="empty"] { padding: 2.5rem 1.5rem 2.75rem; color: var(--muted); text-align: center; }
[part="empty"] svg { width: 2.25rem; height: 2.25rem; margin: 0 auto 0.75rem; stroke-width: 1.2; }
[part="empty"] strong { display: block; color: var(--text); font-weight: 600; }
[part="error"] {
  display: flex;
  flex: none;
  align-items: center;
  justify-content: space-between;
  gap: 0.75rem;
  padding: 0.5rem 0.625rem 0.5rem 1.375rem;
  border-bottom: 1px solid var(--line);
  background: color-mix(in srgb, var(--badge) 10%, var(--surface));
}
[part="error"] button { color: inherit; text-decoration: underline; text-underline-offset: 0.2em; }
[part="footer"] { display: flex; flex: none; flex-direction: column; border-top: 1px solid var(--line); text-align: center; }
[part~="push"] { padding: 0.75rem; border-radius: 0; }
[part="all"] {
  padding: 0.75rem;
  color: var(--accent);
  font-weight: 550;
  text-decoration: none;
}
[part~="push"]:not([hidden]) + [part="all"] { border-top: 1px solid var(--line); }
[part="all"]:hover, [part="more"]:hover { background: var(--hover); }

#toasts {
  inset: auto 1rem 1rem auto;
  width: min(22rem, 100vw - 1rem);
  background: none;
  font-size: 0.875rem;
}
[part="toast"] {
  display: flex;
  align-items: start;
  margin-top: 0.5rem;
  border: 1px solid var(--line);
  border-radius: var(--radius);
  overflow: hidden;
  background: var(--surface);
  box-shadow: 0 0.5rem 1.5rem rgb(0 0 0 / 0.16);
}
[part="toast"]::before { content: ""; align-self: stretch; flex: none; width: 0.25rem; background: var(--accent); }
[part="toast"] [part="link"] { padding-inline-start: 0.875rem; }

@media (max-width: 30rem) {
  #panel { left: 0.5rem !important; right: 0.5rem !important; width: auto; }
  #toasts { inset-inline: 0.5rem; bottom: 0.5rem; width: auto; }
}
@media (prefers-reduced-motion: no-preference) {
  #panel, [part="toast"] { animation: appear 0.16s ease-out; }
  @keyframes appear { from { opacity: 0; transform: translateY(-0.25rem); } }
}
`;
