/** What the user typed or configured is wrong. Ends the program with status 2. */
export class UsageError extends Error {
  override name = 'UsageError';
}
