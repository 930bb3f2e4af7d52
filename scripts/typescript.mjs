/**
 * `node --import ./scripts/typescript.mjs FILE.ts` runs TypeScript as it stands: its types become blanks, so that every
 * line and column is where it was, and no source map is needed for a stack trace or for coverage.
 */
import module from 'node:module';
import { load } from './typescript-hooks.mjs';

// In this thread where Node can (22.15 and later), which costs least; else Node asks the hooks in a thread of theirs.
if (module.registerHooks) module.registerHooks({ load });
else module.register('./typescript-hooks.mjs', import.meta.url);
