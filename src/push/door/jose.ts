/**
 * The package `jose`, which verifies JSON Web Tokens. Who has none need not install it: it is loaded when it is asked for.
 */
import type { KeyObject, webcrypto } from 'node:crypto';

export interface JoseHeader {
  alg?: string;
  kid?: string;
  [name: string]: unknown;
}

export type JoseKey = KeyObject | Uint8Array | webcrypto.CryptoKey;
export type JoseKeys = (header?: JoseHeader, token?: never) => Promise<JoseKey>;

export interface JoseVerifyOptions {
  algorithms: string[];
  issuer?: string | string[];
  audience?: string | string[];
  typ?: string;
  /** Seconds. */
  clockTolerance: number;
  requiredClaims: string[];
}

/** As much of it as is used here. */
export interface Jose {
  jwtVerify(
    token: string,
    key: JoseKey | JoseKeys,
    options: JoseVerifyOptions,
  ): Promise<{ payload: Record<string, unknown> }>;
  createLocalJWKSet(set: { keys: object[] }): JoseKeys;
}

const NAME = 'jose';

/** @throws {Error} saying what to install */
export async function loadJose(name: string = NAME): Promise<Jose> {
  let module: Partial<Jose>;
  try {
    // Not for bundlers, which would look for it where it was never installed.
    module = await import(/* webpackIgnore: true */ /* @vite-ignore */ name);
  } catch (error) {
    throw new Error(
      'JSON Web Tokens need the package jose, which is not installed beside tidings: npm install jose',
      { cause: error },
    );
  }
  if (typeof module.jwtVerify !== 'function' || typeof module.createLocalJWKSet !== 'function') {
    throw new Error('the package jose is not one that tidings knows: npm install jose@6');
  }
  return module as Jose;
}
