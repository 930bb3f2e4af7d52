/** Files of the package, which lie elsewhere for what is compiled than for its source. */
import { existsSync, readFileSync } from 'node:fs';

/** Where the package's own package.json is: a folder or two above. */
const root = findRoot(new URL('..', import.meta.url));

function findRoot(folder: URL): URL {
  const manifest = new URL('package.json', folder);
  // dist/cjs has one as well; that has no name.
  const isRoot = existsSync(manifest) && JSON.parse(readFileSync(manifest, 'utf8')).name === 'tidings';
  return isRoot || folder.pathname === '/' ? folder : findRoot(new URL('..', folder));
}

/** @throws {Error} where there is no such file, as readFileSync does */
export function readPackageFile(path: string): Buffer {
  return readFileSync(new URL(path, root));
}
