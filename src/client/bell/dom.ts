/** Elements without markup: all text is text, and nothing here needs more than a content policy's `script-src`. */

type Value = string | boolean | undefined | ((event: never) => unknown);
type Settings = Record<string, Value>;

/**
 * @param names its part, by which pages style it, and its classes, of which the part is one; none for ''
 * @param rest children; and attributes: functions are listeners, `true` is an attribute without a value, `false` none
 */
export function h<Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  names: string,
  ...rest: (Node | string | Settings)[]
): HTMLElementTagNameMap[Tag] {
  const element = document.createElement(tag);
  const [part] = names.split(' ');
  if (names !== '') set(element, { part, class: names });
  for (const one of rest)
    if (typeof one === 'string' || one instanceof Node) element.append(one);
    else set(element, one);
  return element;
}

export function set(element: Element, settings: Settings): void {
  for (const [name, value] of Object.entries(settings)) {
    if (typeof value === 'function') element.addEventListener(name, value as EventListener);
    else if (value === undefined || value === false) element.removeAttribute(name);
    else if (element.getAttribute(name) !== `${value === true ? '' : value}`)
      element.setAttribute(name, value === true ? '' : value);
  }
}

/** Only where it is another one, so that a screen reader is not told the same again. */
export function say(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

export function icon(path: string): SVGElement {
  const names = 'http://www.w3.org/2000/svg';
  const svg = document.createElementNS(names, 'svg');
  set(svg, { viewBox: '0 0 24 24', 'aria-hidden': 'true', focusable: 'false' });
  const line = document.createElementNS(names, 'path');
  set(line, { d: path });
  svg.append(line);
  return svg;
}

export function button(
  names: string,
  click: (event: Event) => unknown,
  ...children: Node[]
): HTMLButtonElement {
  return h('button', names, { type: 'button', click }, ...children);
}

export function slot(name: string, ...children: Node[]): HTMLSlotElement {
  return h('slot', '', { name }, ...children);
}

/** The trees that it stands in, from its own to that of the page: those of closed shadow roots as well. */
export function rootsAround(element: Element): Node[] {
  const roots: Node[] = [];
  for (let at: Element | undefined = element; at !== undefined; ) {
    const root = at.getRootNode();
    roots.push(root);
    at = root instanceof ShadowRoot ? root.host : undefined;
  }
  return roots;
}

/** What a page's own code throws is reported like any uncaught error, and disturbs nothing else. */
export function uncaught(error: unknown): void {
  queueMicrotask(() => {
    throw error;
  });
}
