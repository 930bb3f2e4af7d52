/** The rules of the style sheet; the build makes them short. */
export const rules = `
:host { display: inline-block; vertical-align: middle }
:host([theme=dark]) { color-scheme: dark }
:host([theme=light]) { color-scheme: light }
:host([hidden]), [hidden] { display: none !important }
* { box-sizing: border-box; margin: 0; padding: 0 }
.root {
  font: 400 var(--tidings-bell-font-size, medium)/1.45 var(--tidings-bell-font-family, inherit);
  letter-spacing: 0;
  text-align: start;
  text-indent: 0;
  text-transform: none;
  white-space: normal;
}
button, .main {
  font: inherit;
  color: inherit;
  text-align: inherit;
  text-decoration: none;
  border: 0;
  border-radius: .5em;
  background: none;
  cursor: pointer;
}
:disabled { opacity: .7; cursor: default }
:focus-visible { outline: .15em solid; outline-offset: -.15em }
.panel:focus { outline: 0 }
svg {
  display: block;
  width: 1.4em;
  fill: none;
  stroke: currentColor;
  stroke-width: 1.8;
  stroke-linecap: round;
  stroke-linejoin: round;
}
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%) }

.button { position: relative; padding: .7em; color: var(--tidings-bell-color, inherit) }
.button:hover { background: rgb(128 128 128/.16) }
.off svg { opacity: .55 }
.badge {
  position: absolute;
  top: .1em;
  inset-inline-start: 50%;
  min-width: 1.6em;
  padding: 0 .4em;
  border: 1px solid transparent;
  border-radius: 1em;
  background: var(--_badge);
  color: var(--_badge-ink);
  font-size: .72em;
  font-weight: 700;
  text-align: center;
}

.panel, .toast {
  background: var(--_background);
  color: var(--_ink);
  border: 1px solid var(--_line);
  border-radius: var(--tidings-bell-radius, .8em);
  box-shadow: 0 .5em 2em rgb(0 0 0/.22);
  overflow: hidden;
}
.panel, .toasts { position: fixed; inset: auto; z-index: 2147483000 }
.panel {
  top: var(--_top);
  left: var(--_left);
  display: flex;
  flex-direction: column;
  width: min(var(--tidings-bell-width, 25em), calc(100vw - 1em));
  max-height: var(--_height);
}
.head, .foot, .note { display: flex; flex-wrap: wrap; align-items: center; padding-inline: 1em .4em }
.head, .note { border-bottom: 1px solid var(--_line) }
.foot { padding-inline: .4em; border-top: 1px solid var(--_line) }
.bare { border: 0 }
.archived { flex: 1; padding-inline: .6em }
h2 { flex: 1; font-size: 1.05em; overflow-wrap: anywhere }
.text-button, .icon-button { min-width: 2.75em; min-height: 2.75em; padding: 0 .6em; color: var(--_accent) }
.text-button { min-height: 3em; font-size: .92em }
.icon-button { display: grid; place-items: center; padding: 0; color: var(--_soft) }
.text-button:hover, .icon-button:hover, li:hover, .toast:hover { background: var(--_tint) }
.icon-button svg { width: 1.2em }
.note { justify-content: space-between; padding-block: .3em; color: var(--_warn) }
.scroll { overflow: auto; overscroll-behavior: contain }
.empty { padding: 2em; color: var(--_soft); text-align: center }
.empty a { line-height: 2.75em }
ul { list-style: none }
li { display: grid; grid-template-columns: 1fr auto; align-items: center }
li + li { border-top: 1px solid var(--_line) }
li.unread { background: var(--_tint) }
.main { position: relative; display: block; min-width: 0; min-height: 2.75em; padding: .7em 1em; padding-inline: 1.75em .25em; overflow-wrap: anywhere }
.line { display: flex; gap: .75em; color: var(--_soft); font-size: .87em }
.from { flex: 1; overflow: hidden; text-overflow: ellipsis; white-space: nowrap }
.subject, .text { display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 2; overflow: hidden }
.unread .subject { font-weight: 650 }
.text { color: var(--_soft); font-size: .92em }
.body { grid-column: 1/3; padding: 0 1.75em 1em; overflow-wrap: anywhere; white-space: pre-wrap; min-width: 0 }
[aria-expanded=true] .text { display: none }
[aria-expanded=true] .subject { -webkit-line-clamp: 8 }
.dot { position: absolute; top: 1.1em; inset-inline-start: .65em; border: .28em solid var(--_accent); border-radius: 50% }
.more { width: 100% }

.toasts {
  bottom: 1em;
  inset-inline-end: 1em;
  display: grid;
  gap: .5em;
  width: min(23em, calc(100vw - 2em));
  border: 0;
  background: none;
  overflow: visible;
}
.toast { display: flex; align-items: start }
.toast .main { flex: 1; padding: .8em 1em }
.toast .from { color: var(--_soft); font-size: .87em }
.toast span { display: block }
.toast .subject { display: -webkit-box; font-weight: 650 }

@media (max-width: 30em) {
  .panel { inset: auto 0 0; width: 100%; max-height: 85vh; border-radius: .8em .8em 0 0 }
}
@media (prefers-reduced-motion: no-preference) {
  .panel, .toast { animation: come .16s }
}
@keyframes come { from { opacity: 0; transform: translateY(.5em) } }
`;
