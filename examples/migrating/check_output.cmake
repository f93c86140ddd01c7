# cmake -DPROGRAM=... -DEXPECTED=... -P check_output.cmake: the program ends well and prints just
# that.
execute_process(COMMAND ${PROGRAM} OUTPUT_VARIABLE printed ERROR_VARIABLE complaints
    RESULT_VARIABLE code)
file(READ ${EXPECTED} expected)
if(NOT code EQUAL 0 OR NOT complaints STREQUAL "" OR NOT printed STREQUAL expected)
    message(FATAL_ERROR
        "exit code ${code}\n${complaints}printed:\n${printed}expected:\n${expected}")
endif()
