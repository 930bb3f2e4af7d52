<?php
// A ticket for a page of USER, a JSON Web Token (HS256): TIDINGS_JWT_SECRET=… php ticket.php USER [SECONDS]

function sign(string $user, int $seconds, string $secret): string {
  $base64url = fn($bytes) => rtrim(strtr(base64_encode($bytes), '+/', '-_'), '=');
  $claims = json_encode(['sub' => $user, 'exp' => time() + $seconds], JSON_THROW_ON_ERROR);
  $signed = $base64url('{"alg":"HS256","typ":"JWT"}') . '.' . $base64url($claims);
  return $signed . '.' . $base64url(hash_hmac('sha256', $signed, $secret, true));
}

echo sign($argv[1], (int) ($argv[2] ?? 600), getenv('TIDINGS_JWT_SECRET')), "\n";
