<?php
// Sends a message to all pages of a user: TIDINGS_ADMIN_TOKEN=… php send.php USER JSON [KEY]

/** Returns the receipt. With the same key again nothing is stored twice, so it is safe to ask again. */
function send(string $user, mixed $data, ?string $key = null): array {
  $server = getenv('TIDINGS_URL') ?: 'http://127.0.0.1:8080';
  $context = stream_context_create(['http' => [
    'method' => 'POST',
    'header' => [
      'Authorization: Bearer ' . getenv('TIDINGS_ADMIN_TOKEN'),
      'Content-Type: application/json',
      'Idempotency-Key: ' . ($key ?? bin2hex(random_bytes(16))),
    ],
    'content' => json_encode($data, JSON_THROW_ON_ERROR),
    'timeout' => 12,
    'ignore_errors' => true, // so that the server's own words for a refusal can be read
  ]]);
  for ($attempt = 1; $attempt <= 3; $attempt++) {
    if ($attempt > 1) sleep($attempt);
    $http_response_header = ['HTTP/1.1 0'];
    $answer = @file_get_contents("$server/api/users/" . rawurlencode($user) . '/messages', false, $context);
    $status = (int) explode(' ', $http_response_header[0])[1];
    if ($answer !== false && $status === 201) return json_decode($answer, true, 512, JSON_THROW_ON_ERROR);
    $problem = $answer === false ? error_get_last()['message'] : "$status: $answer";
    if ($status >= 400 && $status < 500) break;
  }
  throw new RuntimeException($problem);
}

try {
  echo json_encode(send($argv[1], json_decode($argv[2], false, 512, JSON_THROW_ON_ERROR), $argv[3] ?? null)), "\n";
} catch (RuntimeException | JsonException $error) {
  fwrite(STDERR, 'not sent: ' . trim($error->getMessage()) . "\n");
  exit(1);
}
