/**
 * `node --import ./scripts/typescript.mjs FILE.ts` runs TypeScript as it stands: its types become blanks, so that every
 * line and column is where it was, and no source map is needed for a stack trace or for coverage.
 */
import module, { createRequire } from 'node:module';
import { isOurs, load, resolve, withoutTypes } from './typescript-hooks.mjs';

// In this thread where Node can (22.15 and later), which costs least; else Node asks the hooks in a thread of theirs.
if (module.registerHooks) module.registerHooks({ load, resolve });
else if (!isTold()) module.register('./typescript-hooks.mjs', import.meta.url);

/**
 * A thread costs a start as much as all of src/ does. Node 20 does without where it was started with --expose-internals, as tests
 * are: then its own loader can be told what TypeScript is.
 *
 * @returns whether it was
 */
function isTold() {
  try {
    const require = createRequire(import.meta.url);
    const { extensionFormatMap } = require('internal/modules/esm/formats');
    if (extensionFormatMap['.ts'] !== undefined) return true;
    const { translators } = require('internal/modules/esm/translators');
    const asModule = translators.get('module');
    translators.set('module', function (url, source, isMain) {
      const text = isOurs(url) ? withoutTypes(url, String(source)) : source;
      return Reflect.apply(asModule, this, [url, text, isMain]);
    });
    extensionFormatMap['.ts'] = 'module';
    return true;
  } catch {
    return false;
  }
}
