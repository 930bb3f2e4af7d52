/** For tidings.js: the code for tabs that share is a script beside it, tidings-share.js. */
import type { shareTransport } from './share/index.ts';

const own = globalThis.document?.currentScript as HTMLScriptElement | null | undefined;
let loading: Promise<typeof shareTransport> | undefined;

/** By scripts/client-bundle.ts: true in the bell's script, which holds a policy with trusted types; a few bytes fewer elsewhere. */
declare const HAS_TRUSTED_TYPES: boolean;

interface Trusting {
  trustedTypes?: {
    createPolicy(name: string, rules: object): { createScriptURL(url: string): string };
  };
}

function trusted(url: string): string {
  const policy = (globalThis as Trusting).trustedTypes?.createPolicy('tidings', { createScriptURL: String });
  return policy?.createScriptURL(url) ?? url;
}

export function load(): Promise<typeof shareTransport> {
  loading ??= new Promise((resolve, reject) => {
    const script = document.createElement('script');
    const url = new URL('tidings-share.js', own?.src).href;
    script.src = HAS_TRUSTED_TYPES ? trusted(url) : url;
    script.nonce = own?.nonce as string;
    // It leaves what it has here.
    script.onload = () => resolve((script as unknown as { share: typeof shareTransport }).share);
    script.onerror = reject;
    document.head.append(script);
  });
  return loading;
}
