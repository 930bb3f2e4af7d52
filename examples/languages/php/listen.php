<?php
// Prints what comes for the user of a ticket or token, as lines of JSON: php listen.php TICKET
//
// By SockJS and server-sent events, as PHP has no WebSocket; the frames are those of docs/wire.md. After an
// interruption it goes on where it was. Ends with status 1 where the server says not to come back.

class Refused extends Exception {}

/** Yields the frames of one session, until it is closed. */
function frames(string $session, string $cookie, callable $hello): Generator {
  while (true) { // a response ends after 128 KiB; the session goes on with the next
    // In HTTP/1.0, as PHP waits for 8 KiB of what comes in chunks.
    $get = ['header' => $cookie, 'timeout' => 60, 'protocol_version' => 1.0];
    $context = stream_context_create(['http' => $get]);
    $http_response_header = ['HTTP/1.1 0'];
    $stream = @fopen("$session/eventsource?protocol=tidings.1", 'r', false, $context);
    if ($stream === false) {
      if (in_array(explode(' ', $http_response_header[0])[1], ['400', '401', '403', '404'])) {
        throw new Refused($http_response_header[0]);
      }
      throw new RuntimeException(error_get_last()['message']);
    }
    while (($line = fgets($stream)) !== false) {
      if (!str_starts_with($line, 'data: ')) continue;
      $content = substr($line, 7);
      switch ($line[6]) {
        case 'o':
          $post = ['method' => 'POST', 'header' => "$cookie\r\nContent-Type: text/plain", 'timeout' => 12];
          $post['content'] = json_encode([json_encode($hello())]);
          // Should it be lost, the stream ends and says why.
          @file_get_contents("$session/xhr_send", false, stream_context_create(['http' => $post]));
          break;
        case 'a':
          foreach (json_decode($content) as $text) yield json_decode($text);
          break;
        case 'c':
          [$code, $reason] = json_decode($content);
          if ($code >= 4500 && $code < 5000) throw new Refused("$code $reason");
          return;
      }
    }
    if (stream_get_meta_data($stream)['timed_out']) throw new RuntimeException('nothing came for 60 s');
  }
}

/** Yields the messages of the user's inbox. */
function listen(string $ticket): Generator {
  $sockjs = (getenv('TIDINGS_URL') ?: 'http://127.0.0.1:8080') . '/sockjs/socketServer';
  $positions = []; // keep it in a file to go on where you were after a restart, too
  $hello = function () use (&$positions) {
    return ['type' => 'hello', 'positions' => (object) $positions];
  };
  while (true) {
    try {
      foreach (frames("$sockjs/php/" . bin2hex(random_bytes(16)), "Cookie: tidings_ticket=$ticket", $hello) as $frame) {
        $place = $frame->type === 'welcome' ? $frame->channels->inbox : $frame;
        if ($frame->type !== 'welcome' && ($frame->channel ?? '') !== 'inbox') continue;
        if ($frame->type === 'message') {
          $positions['inbox'] = ['epoch' => $frame->epoch, 'offset' => $frame->offset, 'id' => $frame->id];
          if (!($frame->gone ?? false)) yield $frame;
        } elseif ($frame->type === 'welcome' || $frame->type === 'gap') {
          $positions['inbox'] = $place->position;
          if (!$place->recovered) fwrite(STDERR, "messages were missed: $place->reason\n");
        }
      }
    } catch (RuntimeException $error) {
      fwrite(STDERR, "connecting again: {$error->getMessage()}\n");
    }
    sleep(2);
  }
}

try {
  foreach (listen($argv[1]) as $message) echo json_encode($message->data), "\n";
} catch (Refused $reason) {
  fwrite(STDERR, "refused: {$reason->getMessage()}\n");
  exit(1);
}
