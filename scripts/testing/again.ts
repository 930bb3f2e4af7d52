/** A second chance for files that failed among many others. */
import type { Outcome } from './one-file.ts';
import type { Report } from './report.ts';

/** Where more files than that have failed, it is no chance. */
const MOST = 3;

/**
 * Runs each file that failed once more, while nothing else runs. One that passes then is told as unsteady: a race, of the test
 * or of the code, that somebody has to look at.
 */
export async function runAgain(report: Report, run: (file: string) => Promise<Outcome>): Promise<void> {
  const { failed } = report;
  if (failed.length > MOST) return;
  for (const file of failed) {
    report.began(file);
    report.ended(await run(file));
  }
}
