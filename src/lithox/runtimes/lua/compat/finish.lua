-- The last chunk of a compatibility runtime: takes the shared table away, and gives the program
-- `arg` as the standalone interpreter does, with the program's name at 0.

COMPAT_INTERNAL = nil

return function(main, ...)
  arg = {...}
  arg[0] = os.program_name
  return main(...)
end
