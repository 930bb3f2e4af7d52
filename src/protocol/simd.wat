;; Unmasking (RFC 6455 §5.3) 16 bytes at a time, for frames that were read straight into this memory.
;; `npm run wat` compiles it into simd.ts; mask.ts holds the twin in JavaScript, tested equally.
(module
  ;; Three pages: the 128 KiB that all sockets are read into, and 2 KiB before them (simd.ts says why).
  (memory (export "memory") 3 3)

  ;; XORs the n bytes at p with the key, whose lowest byte goes first.
  ;; Returns 0 if every byte is below 0x80 afterwards: ASCII, so valid UTF-8 without another look.
  (func (export "unmask") (param $p i32) (param $n i32) (param $key i32) (result i32)
    (local $keys v128) (local $v v128) (local $seen v128)
    (local $word i32) (local $seenWord i32) (local $end i32)

    ;; 1. Whole blocks of 16 bytes.
    (local.set $keys (i32x4.splat (local.get $key)))
    (local.set $end (i32.add (local.get $p) (i32.and (local.get $n) (i32.const -16))))
    (block $blocksDone
      (loop $block
        (br_if $blocksDone (i32.eq (local.get $p) (local.get $end)))
        (local.set $v (v128.xor (v128.load align=1 (local.get $p)) (local.get $keys)))
        (v128.store align=1 (local.get $p) (local.get $v))
        (local.set $seen (v128.or (local.get $seen) (local.get $v)))
        (local.set $p (i32.add (local.get $p) (i32.const 16)))
        (br $block)))

    ;; 2. Up to three words of 4 bytes.
    (local.set $end (i32.add (local.get $end) (i32.and (local.get $n) (i32.const 12))))
    (block $wordsDone
      (loop $words
        (br_if $wordsDone (i32.eq (local.get $p) (local.get $end)))
        (local.set $word (i32.xor (i32.load align=1 (local.get $p)) (local.get $key)))
        (i32.store align=1 (local.get $p) (local.get $word))
        (local.set $seenWord (i32.or (local.get $seenWord) (local.get $word)))
        (local.set $p (i32.add (local.get $p) (i32.const 4)))
        (br $words)))

    ;; 3. Up to three bytes; the key moves on by one byte each time.
    (local.set $end (i32.add (local.get $end) (i32.and (local.get $n) (i32.const 3))))
    (block $bytesDone
      (loop $bytes
        (br_if $bytesDone (i32.eq (local.get $p) (local.get $end)))
        (local.set $word
          (i32.xor (i32.load8_u (local.get $p)) (i32.and (local.get $key) (i32.const 255))))
        (i32.store8 (local.get $p) (local.get $word))
        (local.set $seenWord (i32.or (local.get $seenWord) (local.get $word)))
        (local.set $key (i32.shr_u (local.get $key) (i32.const 8)))
        (local.set $p (i32.add (local.get $p) (i32.const 1)))
        (br $bytes)))

    (i32.or
      (i8x16.bitmask (local.get $seen))
      (i32.and (local.get $seenWord) (i32.const 0x80808080)))))
