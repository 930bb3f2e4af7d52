<?php
// A ticket for a page of tidings: TIDINGS_SECRET=… php ticket.php USER [MILLISECONDS]

function sign(string $user, int $lifetime, string $secret): string {
  $base64url = fn($bytes) => rtrim(strtr(base64_encode($bytes), '+/', '-_'), '=');
  $expires = (int) (microtime(true) * 1000) + $lifetime;
  $signed = 't1.' . $base64url(json_encode(['u' => $user, 'x' => $expires], JSON_THROW_ON_ERROR));
  return $signed . '.' . $base64url(hash_hmac('sha256', $signed, $secret, true));
}

echo sign($argv[1], (int) ($argv[2] ?? 600000), getenv('TIDINGS_SECRET')), "\n";
