-- A reward in Lua on top of the math verifier (reward.list = { lua = 1 }, reward.lua = "configs/math_steps_reward.lua"): 1 for the
-- right answer in a box, 0.5 for the right answer elsewhere, 0.1 for an answer of the gold's kind that is wrong, 0 otherwise.
-- math_verify{...} takes what a line of `hone verify math` takes, and a policy as reward.math_policy does; it returns a table with
-- outcome, why, rule, extracted, gold_parsed and pred_parsed.
function reward(row)
    local v = math_verify{gold = row.gold, pred = row.response, policy = "no-percent_loose"}
    if v.outcome == "right" then
        return v.rule == "box" and 1 or 0.5, "scored", v.why
    elseif v.outcome == "wrong" then
        return 0.1, "scored", v.extracted .. ": " .. v.why
    end
    return 0, v.outcome, v.why -- unparsable earns 0; gold_unparsable and timeout leave the sample out
end
