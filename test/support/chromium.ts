/** A real Chromium, started for a test. */
import { type Browser, chromium, type Page } from 'playwright-core';
import { find } from './programs.ts';

export async function launchChromium(): Promise<Browser> {
  return chromium.launch({
    executablePath: find('chromium')!,
    timeout: 60_000,
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
