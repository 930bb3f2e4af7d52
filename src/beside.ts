/**
 * The one way to read a file that lies beside a module. The build puts its content in place of the call, so that it is
 * there wherever the code goes: in the package, and in an application's bundle. scripts/inline-files.ts does it, and refuses
 * any other use of `import.meta`.
 */
import { readFileSync } from 'node:fs';

/** @param url written out where it is called: `readBeside(new URL('page.html', import.meta.url))` */
export const readBeside = (url: URL): Buffer => readFileSync(url);
