// docs/configuration-ptq.md from the key tables of spq-ptq and spq-eval.
#pragma once

#include <string>

namespace spq::ptq {

std::string configuration_page();

}  // namespace spq::ptq
