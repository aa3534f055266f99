# rung_warnings(target): the project's own code compiles without a warning; generated code does not ask for it.
function(rung_warnings target)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wshadow -Wconversion -Werror)
endfunction()
