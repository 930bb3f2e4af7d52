/** Packages that only some sources need: nobody has to install them who has no such source. Loaded when they are asked for. */
import { SourceSetupError } from './driver.ts';

/**
 * @param name of the package, or an entry of it
 * @param what needs it, for people
 * @param isIt whether it is what was expected
 * @param all what is to be installed, where that is more than this one
 * @throws {SourceSetupError} saying what to install
 */
export async function loadPackage<T extends object>(
  name: string,
  what: string,
  isIt: (module: Partial<T>) => boolean,
  all = name,
): Promise<T> {
  let module: Partial<T> & { default?: Partial<T> };
  try {
    // Not for bundlers, which would look for it where it was never installed.
    module = await import(/* webpackIgnore: true */ /* @vite-ignore */ name);
  } catch (error) {
    throw new SourceSetupError(
      `${what} needs the package ${name}, which is not installed beside tidings: npm install ${all}`,
      { cause: error },
    );
  }
  for (const each of [module, module.default]) if (each !== undefined && isIt(each)) return each as T;
  throw new SourceSetupError(`the package ${name} is not one that tidings knows: npm install ${name}@latest`);
}
