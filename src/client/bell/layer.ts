/** Above all of the page: in the browser's top layer where it has one, else by z-index; and where that is. */

/** Pixels between what floats and the edges of the window. */
const GAP = 8;

export function float(element: HTMLElement): void {
  element.hidden = false;
  if (!('popover' in element) || element.matches(':popover-open')) return;
  element.popover = 'manual';
  if (element.isConnected) element.showPopover();
}

export function sink(element: HTMLElement): void {
  if ('popover' in element && element.isConnected && element.matches(':popover-open')) element.hidePopover();
  element.hidden = true;
}

export interface Place {
  top: number;
  left: number;
  height: number;
}

/** Below the anchor, or above it where there is more room; its end at the anchor's end, as far as the window has room. */
export function placeAt(anchor: DOMRect, panel: { width: number; height: number }, isRtl: boolean): Place {
  const { clientWidth: width, clientHeight: height } = document.documentElement;
  const below = height - anchor.bottom - 2 * GAP;
  const above = anchor.top - 2 * GAP;
  const isBelow = below >= Math.min(panel.height, 320) || below >= above;
  const room = Math.max(160, isBelow ? below : above);
  const left = isRtl ? anchor.left : anchor.right - panel.width;
  return {
    top: isBelow ? anchor.bottom + GAP : Math.max(GAP, anchor.top - GAP - Math.min(panel.height, room)),
    left: Math.max(GAP, Math.min(left, width - panel.width - GAP)),
    height: room,
  };
}
