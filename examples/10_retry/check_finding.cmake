# PROGRAM --forget-ids must fail with the text in forget_ids.txt, which docs/testing.md and
# README.md show, and fail in the same way when given the command line of that text.
cmake_minimum_required(VERSION 3.24)
cmake_path(GET PROGRAM PARENT_PATH folder)
cmake_path(GET PROGRAM FILENAME name)

# expect RESULT EXIT_CODE COMMAND...
function(expect result expected)
    execute_process(COMMAND ${ARGN} WORKING_DIRECTORY ${folder}
        OUTPUT_VARIABLE output ERROR_VARIABLE output RESULT_VARIABLE exit_code)
    if(NOT exit_code EQUAL expected)
        message(FATAL_ERROR "${ARGN}: exit code ${exit_code}, not ${expected}:\n${output}")
    endif()
    set(${result} "${output}" PARENT_SCOPE)
endfunction()

function(find result pattern text)
    if(NOT text MATCHES "${pattern}")
        message(FATAL_ERROR "no '${pattern}' in:\n${text}")
    endif()
    set(${result} "${CMAKE_MATCH_1}" PARENT_SCOPE)
endfunction()

unset(ENV{OURO_SEED})
expect(found 1 ./${name} --forget-ids)
file(READ ${CMAKE_CURRENT_LIST_DIR}/forget_ids.txt shown)
if(NOT found STREQUAL shown)
    message(FATAL_ERROR "this was found:\n${found}\nforget_ids.txt has:\n${shown}\n"
        "If the simulation draws differently now, renew it and the two pages that show it.")
endif()

# The program ignores further words; the shell must give it back just those.
expect(at_length 1 ./${name} --forget-ids "it's" "two words" "$HOME")
foreach(first IN ITEMS "${found}" "${at_length}")
    find(line "repeat: (OURO_SEED='[0-9]+ [^']+' [^\n]+)" "${first}")
    expect(again 1 sh -c "${line}")
    find(line_again "repeat: ([^\n]+)" "${again}")
    find(what "(an exception: [^\n]+)" "${first}")
    find(what_again "(an exception: [^\n]+)" "${again}")
    if(NOT line STREQUAL line_again OR NOT what STREQUAL what_again)
        message(FATAL_ERROR "${line}\ndoes not repeat it:\n${first}\n${again}")
    endif()
endforeach()

# A seed that cannot be read is no finding.
set(ENV{OURO_SEED} "1 loss")
expect(refused 2 ./${name} --forget-ids)
find(reason "(OURO_SEED='1 loss': [^\n]+)" "${refused}")
