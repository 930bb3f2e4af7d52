-- For the first messages and receipts, until an instance says how long they are kept.
SELECT tidings.prepare('message', 604800000), tidings.prepare('receipt', 86400000);
