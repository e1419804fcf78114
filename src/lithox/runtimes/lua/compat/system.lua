-- What a program of the standalone interpreter expects around the language: print, os and files.
local internal = COMPAT_INTERNAL
