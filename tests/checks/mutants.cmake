# checks/mutants: each mutant of the core has to be noticed by a unit row or by the simulation.
add_test(NAME checks/mutants
	COMMAND ${PYTHON} ${CMAKE_CURRENT_LIST_DIR}/mutants.py ${PROJECT_SOURCE_DIR})
set_tests_properties(checks/mutants PROPERTIES LABELS "slow;checks" TIMEOUT 240 RUN_SERIAL ON
	ENVIRONMENT "CC=${CMAKE_C_COMPILER}")
