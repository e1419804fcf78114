"""A guest module written by hand, small enough to know every byte of.

`lx_load` gives the handler names `a`, `_b` unless the last byte of the source says otherwise:
`l` loops, `u` traps, `m` takes all memory, `g` grows by a page, `x` reports a syntax error, `z`
answers nonsense, `a` sends the source before it as a system call. `lx_run` does what the first
byte of its message says:

    e  returns the message                       l  loops for ever
    a  asks: sends the message, returns the answer (up to 4096 bytes)
    b  asks with room for 4 bytes only, collects the rest, returns it
    s  fills the memory above the inbox with 0xAA, then returns the message
    r  returns the byte at SCRATCH, after adding 1 to it
    g  grows the memory by one page again and again, then traps when refused
    u  reaches `unreachable`                     o  overflows the native stack
    p  returns a (pointer, length) outside       q  asks with a pointer outside
    k  collects an answer nobody kept            n  asks 0xffff_ffff bytes
    t  returns how many loops the second byte times 1000 makes (burns fuel)
    m  asks for ever, ignoring the answers       d  divides by zero
    h  returns a checksum of all its memory      x  reads beyond its memory
    v  asks once, then loops for ever            y  grows by a page, returns the message
    f  adds 1 to a NaN with a payload, returns its eight bytes
    w  returns the first bytes of what the system call of `lx_load` was answered
    G  grows to 9 MiB and asks with a message of 8 MiB and a byte
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import wasmtime

INBOX: Final = 1024
SCRATCH: Final = 20480
PAGES: Final = 2

WAT: Final = r"""
(module
  (import "lithox" "syscall" (func $sys (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 2)
  (data (i32.const 16) "\92\00\92\a1a\a2_b")
  (data (i32.const 64) "\94\01\b1f:7: '=' expected\07\a2tb")
  (func (export "_initialize"))
  (func (export "lx_boot") (result i32) (i32.store (i32.const 20600) (i32.const 7)) (i32.const 0))
  (func (export "lx_inbox") (result i32) (i32.const 1024))
  (func (export "lx_reserve") (param $n i32) (result i32)
    (if (i32.gt_u (local.get $n) (i32.const 40000)) (then (return (i32.const 0))))
    (i32.const 24000))
  (func $pair (param $p i32) (param $n i32) (result i64)
    (i64.or (i64.shl (i64.extend_i32_u (local.get $p)) (i64.const 32))
            (i64.extend_i32_u (local.get $n))))
  (func $deep (param i32) (result i32)
    (i32.add (call $deep (i32.add (local.get 0) (i32.const 1))) (i32.const 1)))
  (func (export "lx_load") (param $n i32) (result i64)
    (local $last i32)
    (local.set $last (i32.load8_u (i32.add (i32.const 1023) (local.get $n))))
    (if (i32.eq (local.get $last) (i32.const 108)) (then (loop $l (br $l))))
    (if (i32.eq (local.get $last) (i32.const 117)) (then (unreachable)))
    (if (i32.eq (local.get $last) (i32.const 109))
      (then
        (loop $l
          (br_if $l (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))
        (unreachable)))
    (if (i32.eq (local.get $last) (i32.const 103)) (then (drop (memory.grow (i32.const 1)))))
    (if (i32.eq (local.get $last) (i32.const 122))
      (then (return (call $pair (i32.const 1024) (i32.const 1)))))
    (if (i32.eq (local.get $last) (i32.const 120))
      (then (return (call $pair (i32.const 64) (i32.const 24)))))
    (if (i32.eq (local.get $last) (i32.const 97))
      (then
        ;; The source begins behind [name, bytes]: an array, a text of one, a short binary.
        (drop (call $sys (i32.const 1029) (i32.sub (local.get $n) (i32.const 6))
          (i32.const 24000) (i32.const 200)))))
    (call $pair (i32.const 16) (i32.const 8)))
  (func (export "lx_run") (param $n i32) (result i64)
    (local $op i32) (local $i i32) (local $r i32)
    (local.set $op (i32.load8_u (i32.const 1024)))
    (if (i32.eq (local.get $op) (i32.const 101))
      (then (return (call $pair (i32.const 1024) (local.get $n)))))
    (if (i32.eq (local.get $op) (i32.const 108)) (then (loop $l (br $l))))
    (if (i32.eq (local.get $op) (i32.const 97))
      (then (return (call $pair (i32.const 30000)
        (call $sys (i32.const 1024) (local.get $n) (i32.const 30000) (i32.const 4096))))))
    (if (i32.eq (local.get $op) (i32.const 98))
      (then
        (local.set $r (call $sys (i32.const 1024) (local.get $n) (i32.const 30000) (i32.const 4)))
        (if (i32.lt_s (local.get $r) (i32.const 0))
          (then (local.set $r (call $sys (i32.const 0) (i32.const 0) (i32.const 30000)
            (i32.sub (i32.const 0) (local.get $r))))))
        (return (call $pair (i32.const 30000) (local.get $r)))))
    (if (i32.eq (local.get $op) (i32.const 115))
      (then
        (memory.fill (i32.const 20480) (i32.const 0xAA) (i32.const 110592))
        (memory.fill (i32.const 0) (i32.const 0xAA) (i32.const 1024))
        (return (call $pair (i32.const 1024) (local.get $n)))))
    (if (i32.eq (local.get $op) (i32.const 114))
      (then
        (i32.store8 (i32.const 20480) (i32.add (i32.load8_u (i32.const 20480)) (i32.const 1)))
        (return (call $pair (i32.const 20480) (i32.const 1)))))
    (if (i32.eq (local.get $op) (i32.const 103))
      (then
        (loop $l
          (br_if $l (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))
        (unreachable)))
    (if (i32.eq (local.get $op) (i32.const 117)) (then (unreachable)))
    (if (i32.eq (local.get $op) (i32.const 111))
      (then (return (call $pair (i32.const 0) (call $deep (i32.const 0))))))
    (if (i32.eq (local.get $op) (i32.const 112))
      (then (return (call $pair (i32.const 0xfffffff0) (i32.const 0xfffffff0)))))
    (if (i32.eq (local.get $op) (i32.const 113))
      (then (drop (call $sys (i32.const 0xfffffff0) (i32.const 32) (i32.const 0) (i32.const 0)))))
    (if (i32.eq (local.get $op) (i32.const 107))
      (then (drop (call $sys (i32.const 0) (i32.const 0) (i32.const 30000) (i32.const 10)))))
    (if (i32.eq (local.get $op) (i32.const 110))
      (then (drop (call $sys (i32.const 1024) (i32.const 0xffffffff) (i32.const 0) (i32.const 0)))))
    (if (i32.eq (local.get $op) (i32.const 116))
      (then
        (local.set $i (i32.mul (i32.load8_u (i32.const 1025)) (i32.const 1000)))
        (loop $l
          (local.set $i (i32.sub (local.get $i) (i32.const 1)))
          (br_if $l (local.get $i)))
        (return (call $pair (i32.const 1024) (local.get $n)))))
    (if (i32.eq (local.get $op) (i32.const 100))
      (then (drop (i32.div_s (i32.const 1) (i32.load (i32.const 20800))))))
    (if (i32.eq (local.get $op) (i32.const 120))
      (then (drop (i32.load (i32.const 0xfffffff0)))))
    (if (i32.eq (local.get $op) (i32.const 71))
      (then
        (drop (memory.grow (i32.const 142)))
        (drop (call $sys (i32.const 1024) (i32.const 8388609) (i32.const 0) (i32.const 0)))))
    (if (i32.eq (local.get $op) (i32.const 104))
      (then
        (loop $l
          (local.set $r (i32.add (i32.mul (local.get $r) (i32.const 31))
                                 (i32.load (local.get $i))))
          (local.set $i (i32.add (local.get $i) (i32.const 4)))
          (br_if $l (i32.lt_u (local.get $i) (i32.const 131072))))
        (i32.store (i32.const 20480) (local.get $r))
        (return (call $pair (i32.const 20480) (i32.const 4)))))
    (if (i32.eq (local.get $op) (i32.const 118))
      (then
        (drop (call $sys (i32.const 1024) (local.get $n) (i32.const 30000) (i32.const 10)))
        (loop $l (br $l))))
    (if (i32.eq (local.get $op) (i32.const 121))
      (then
        (drop (memory.grow (i32.const 1)))
        (return (call $pair (i32.const 1024) (local.get $n)))))
    (if (i32.eq (local.get $op) (i32.const 102))
      (then
        (i64.store (i32.const 20480) (i64.const 0x7ff8000000abcdef))
        (f64.store (i32.const 20480) (f64.add (f64.load (i32.const 20480)) (f64.const 1)))
        (return (call $pair (i32.const 20480) (i32.const 8)))))
    (if (i32.eq (local.get $op) (i32.const 119))
      (then (return (call $pair (i32.const 24000) (i32.load8_u (i32.const 1025))))))
    (if (i32.eq (local.get $op) (i32.const 109))
      (then (loop $l
        (drop (call $sys (i32.const 1024) (local.get $n) (i32.const 30000) (i32.const 10)))
        (br $l))))
    (call $pair (i32.const 1024) (i32.const 0)))
)
"""


def write_wasm(directory: Path, *, wat: str = WAT) -> Path:
    """Returns the path of the binary module, written into `directory`."""
    path = directory / "stand_in.wasm"
    path.write_bytes(bytes(wasmtime.wat2wasm(wat)))
    return path
