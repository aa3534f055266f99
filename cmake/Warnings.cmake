# rung_warnings(target): the project's own code compiles without a warning; generated code does not ask for it. The fuzz
# targets are compiled by another compiler, which has warnings of its own.
function(rung_warnings target)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wshadow -Wconversion)
  if(NOT RUNG_FUZZ)
    target_compile_options(${target} PRIVATE -Werror)
  endif()
endfunction()
