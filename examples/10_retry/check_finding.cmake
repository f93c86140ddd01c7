# PROGRAM --forget-ids must fail with the text in forget_ids.txt, which docs/testing.md and
# README.md show, and fail in the same way when given the seed and the faults of that text.
cmake_minimum_required(VERSION 3.24)

function(run_and_fail result)
    execute_process(COMMAND ${CMAKE_COMMAND} -E env ${ARGN} ${PROGRAM} --forget-ids
        OUTPUT_VARIABLE output ERROR_VARIABLE output RESULT_VARIABLE exit_code)
    if(NOT exit_code EQUAL 1)
        message(FATAL_ERROR "exit code ${exit_code}; the bug was not found:\n${output}")
    endif()
    set(${result} "${output}" PARENT_SCOPE)
endfunction()

run_and_fail(found --unset=OURO_SEED)
file(READ ${CMAKE_CURRENT_LIST_DIR}/forget_ids.txt shown)
if(NOT found STREQUAL shown)
    message(FATAL_ERROR "this was found:\n${found}\nforget_ids.txt has:\n${shown}\n"
        "If the simulation draws differently now, renew it and the two pages that show it.")
endif()

string(REGEX MATCH "OURO_SEED='([0-9]+ [^']+)'" line "${found}")
set(plan "${CMAKE_MATCH_1}")
run_and_fail(repeated "OURO_SEED=${plan}")
foreach(text IN ITEMS "${found}" "${repeated}")
    string(REGEX MATCH "an exception: [^\n]+" what "${text}")
    list(APPEND wrongs "${what}")
endforeach()
list(REMOVE_DUPLICATES wrongs)
list(LENGTH wrongs count)
if(plan STREQUAL "" OR NOT count EQUAL 1)
    message(FATAL_ERROR "'${plan}' does not repeat it:\n${found}\n${repeated}")
endif()
