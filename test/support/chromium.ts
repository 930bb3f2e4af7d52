/** A real Chromium, started for a test. */
import { type Browser, chromium, type LaunchOptions, type Page } from 'playwright-core';
import { find } from './programs.ts';

/**
 * Where Debian's build of it without windows is here, that: pages have the same engine and the same network, and it takes
 * a third of the processor's time. `windows`: the whole of it, for what windows do to their pages.
 */
export async function launchChromium({
  windows = false,
  ...options
}: LaunchOptions & { windows?: boolean } = {}): Promise<Browser> {
  return chromium.launch({
    executablePath: (windows ? undefined : find('headless')) ?? find('chromium')!,
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
