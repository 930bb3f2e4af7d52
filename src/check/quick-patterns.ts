/** The groups that take seconds together, not minutes. A file of its own, so that `tidings --help` loads no case. */
export const quickPatterns = ['1.*', '2.*', '3.*', '4.*', '5.*', '6.*', '7.*', '10.*', 'T.*'];
