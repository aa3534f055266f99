# rung_embed_text(TARGET FILE SYMBOL HEADER): HEADER (as included) gets `inline constexpr char SYMBOL[]` with the file's text.
function(rung_embed_text target file symbol header)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${file})
  file(READ ${file} text)
  file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/embedded/${header} @ONLY CONTENT
"// Made from ${file}
#pragma once
namespace rung {
inline constexpr char ${symbol}[] = R\"embedded(@text@)embedded\";
}  // namespace rung
")
  target_include_directories(${target} PRIVATE ${CMAKE_BINARY_DIR}/embedded)
endfunction()
