/**
 * `npm run wat`: compiles src/protocol/simd.wat and writes its bytes, as base64, between the marks in
 * simd.ts. The module is in the source and not a file of its own, as src/protocol reads no files.
 * A test checks that the two agree.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import wabt from 'wabt';

/** The compiled module in base64. */
export async function compileWat(): Promise<string> {
  const { parseWat } = await wabt();
  const module = parseWat('simd.wat', readFileSync('src/protocol/simd.wat', 'utf8'), { simd: true });
  const { buffer } = module.toBinary({});
  module.destroy();
  return Buffer.from(buffer).toString('base64');
}

if (process.argv[1] === import.meta.filename) {
  const path = 'src/protocol/simd.ts';
  const source = readFileSync(path, 'utf8');
  writeFileSync(path, source.replace(/(const MODULE =\n {2}').*(';)/, `$1${await compileWat()}$2`));
}
