/** For tidings.js: the code for tabs that share is a script beside it, tidings-share.js. */
import type { shareTransport } from './share/index.ts';

const own = globalThis.document?.currentScript as HTMLScriptElement | null | undefined;
let loading: Promise<typeof shareTransport> | undefined;

export function load(): Promise<typeof shareTransport> {
  loading ??= new Promise((resolve, reject) => {
    const script = document.createElement('script');
    script.src = new URL('tidings-share.js', own?.src).href;
    script.nonce = own?.nonce as string;
    // It leaves what it has here.
    script.onload = () => resolve((script as unknown as { share: typeof shareTransport }).share);
    script.onerror = reject;
    document.head.append(script);
  });
  return loading;
}
