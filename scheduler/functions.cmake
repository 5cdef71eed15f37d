# cmake -DFOLDER=.../functions -DOUT=dir -P functions.cmake: join the library's files into OUT/mffa.lua (what FUNCTION LOAD takes) and
# OUT/functions.c (the same bytes for the programs).
# Lua allows 200 local names at a time: those between do and end are no other part's.
set(parts head fields jobs submit work do control end do read metrics end do reap end verbs)
set(text "")
foreach(part ${parts})
  if(part MATCHES "^(do|end)$")
    string(APPEND text "${part}\n")
  else()
    file(READ "${FOLDER}/${part}.lua" piece)
    string(APPEND text "${piece}")
  endif()
endforeach()
string(REGEX MATCH "local VERSION = ([0-9]+)" found "${text}")
if(NOT found)
  message(FATAL_ERROR "head.lua names no VERSION")
endif()
set(version ${CMAKE_MATCH_1})
file(WRITE "${OUT}/mffa.lua" "${text}")
file(READ "${OUT}/mffa.lua" hex HEX)
string(LENGTH "${hex}" digits)
math(EXPR bytes "${digits} / 2")
string(REGEX REPLACE "(................................)" "\\1\n" hex "${hex}")
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," hex "${hex}")
file(WRITE "${OUT}/functions.c" "/* made by functions.cmake from scheduler/functions */
#include \"scheduler/functions.h\"
const char mffa_functions_source[] = {
${hex}0};
const size_t mffa_functions_len = ${bytes};
const int mffa_functions_version = ${version};
")
