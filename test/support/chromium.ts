/** A real Chromium, started for a test, and the script for its pages. */
import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { build } from 'esbuild';
import { type Browser, chromium, type LaunchOptions, type Page } from 'playwright-core';
import { bellBundle, clientBundle, shareBundle } from '../../scripts/client-bundle.ts';
import { find } from './programs.ts';

export async function launchChromium(options: LaunchOptions = {}): Promise<Browser> {
  return chromium.launch({
    executablePath: find('chromium')!,
    timeout: 120_000,
    args: [
      '--headless',
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
    ...options,
  });
}

/** Builds the page's scripts where `tidings serve` finds them: in one step, as another test's server may just read them. */
export async function buildClient(): Promise<void> {
  for (const bundle of [clientBundle, shareBundle, bellBundle]) {
    const { outputFiles } = await build({ ...bundle, sourcemap: false, write: false });
    const { outfile } = bundle;
    const own = `${outfile}.${process.pid}`;
    mkdirSync(dirname(outfile), { recursive: true });
    writeFileSync(own, outputFiles[0]!.contents);
    renameSync(own, outfile);
  }
}

/**
 * What goes wrong inside the page: errors of its scripts and of its content policy. Not what the network did, as tests
 * end servers on purpose.
 */
export function recordErrors(page: Page): string[] {
  const errors: string[] = [];
  page.on('pageerror', (error) => errors.push(String(error)));
  page.on('console', (message) => {
    const text = message.text();
    if (message.type() === 'error' && !/WebSocket connection|Failed to load resource/.test(text))
      errors.push(text);
  });
  return errors;
}
