# ruff: noqa: E501 - a table reads best with its cases side by side
"""Worked solutions and objects in the many ways in which models write them."""

from __future__ import annotations

import pytest

from langchain_avengers.voting.answers import extract_answer
from langchain_avengers.voting.equivalence import same

SCHEMA = 'How many?\n\nReturn your answer as\n```json\n{"reasoning": "string", "answer": "string"}\n```'
# fmt: off
NATURAL = [  # (question, reply, the same answer by itself)
    # worked solutions
    ("How much does Rosa need for the final meal?","Ten horses at 6 scoops each want 6*10=60 scoops a day.\nBy noon they had 18 and 22, so 18+22=40.\nWhat is left for the evening is 60-40=20 scoops of oats.","20"),
    ("How far is he from home at the end of 4 hours?","Kim is 45 miles from home at the end of those 4 hours.","45"),
    ("How much is her overtime pay? What are her earnings for this week?","Pay for 30 hours = $12 x 30 = $360.\nExtra rate = $12 x 1.25 = $15.\n4 x $15 = $60\nHence, what she earned in all is $360 + $60 = $420.","420"),
    ("How many goats do the three farms have together?","Let S be the goats of the small farm = 30. The next has 3S = 90. The large one has 2*90 = 180. Together, they have 30 + 90 + 180 = 300 goats.","300"),
    ("What is the answer in percent?","So the percentage is 0.25 × 100 = 25%.","25%"),
    ("What percentage of his time did he spend?","30/120 = 0.25, so he spent 25% of his time.","25%"),
    ("How old is Mico now?","Let M be Mico's age. Lara is 12 years younger: L = M - 12. In 2 years M + 2 = 2(L+2) ... Solving, M = 30.\n\nMico is **30** years old.","30"),
    ("How much money should she expect?","Total = 5 × $3 + 4 × $2 = $15 + $8 = $23\n\nShe should expect **$23**.","23"),
    ("How many pears were eaten?","We set up the equation: 7 + 5 - x = 9.\nx = 3.\n\nThree of us ate 3 pears.","3"),
    ("In how many minutes does she finish?","She needs 1.5 hours = 90 minutes.","90 minutes"),
    ("How many dozens did he buy?","He needs 84 eggs. 84 / 12 = 7 dozens.","7"),
    ("How many weeks does it take?","She needs $120 and saves $15 each week. 120/15 = 8. It takes her 8 weeks to save $120.","8"),
    ("What is the total cost?","Cost of pens: 3 × 2 = 6\nCost of books: 4 × 5 = 20\nTotal cost: 6 + 20 = 26","26"),
    ("How much profit did he make?","He paid 60,000 + 20,000 = $80,000. The value rose by 60,000*1.5 = 90,000. So the new value is 90,000+60,000 = $150,000. So he made a profit of 150,000-80,000 = $70,000","70000"),
    ("How many bolts?","The lining takes 4/4=1 bolt\nSo the coat and its lining take 2+1=3 bolts of cloth","3"),
    ("How many brooms did he start with?","Let x be the number. x - x/3 - 2 - ... After solving the equation\n\n(2/3)x - 2 = 10\n\nx = 18\n\nHe started with 18 brooms.","18"),
    ("On what day of the month will it end?","Starting on the 3rd and adding 11 days gives the 14th.","14"),
    ("What grade is he in?","He is in 4th grade.","4"),
    ("How much change does she get?","She gets $20 - $13.50 = $6.50 in change.","6.5"),
    ("What was the average speed of the car in miles per hour?","Average speed = 180 miles / 4 hours = 45 mph. Its average speed over the day is 45 mph.","45"),
    ("How much will she pay in dollars and cents?","She pays 350 cents, which equals $3.50.","3.5"),
    ("How many cents per cup?","$0.15 per cup is 15 cents per cup","15 cents"),
    ("How much was paid for sound machines?","$500000 - $150000 = $350000\nSo the total amount paid for sound machines is $350000","350000"),
    ("How many students are boys?","Let b be boys and g be girls. b + g = 30, b = 2g. Then 3g = 30, g = 10, b = 20. There are 20 boys and 10 girls.","20"),
    ("How much does Hanna have?","Let H be the amount... 11H = 88,000, H = 8,000. So Hanna has $8,000.","8000"),
    ("What is her age?","Let's denote it by $a$. $$2a + 3 = 31$$ $$a = 14$$ Her age is $14$.","14"),
    ("How many apples are left?","Answer: There are 12 - 5 = 7 apples left.","7"),
    ("How many apples are left?","**Step 1:** 12 apples.\n**Step 2:** 12 - 5 = 7.\n\n**Final Answer:** There are **7** apples left in the basket of 12.","7"),
    ("How many apples are left?","The number of apples left is 12 − 5 = 7 apples.","7"),
    ("How many apples are left?","12 - 5 = 7 apples remain.\n\nTherefore, there are 7 apples left. We can verify: 7 + 5 = 12.","7"),
    ("How many apples are left?","7 apples are left.\n\n(12 - 5 = 7)","7"),
    ("What time did they arrive?","They left at 2:00 PM and the trip took 3 hours and 30 minutes, so they arrived at 5:30 PM.","5:30 PM"),
    ("How long was the trip in minutes?","They left at 2:00 PM and arrived at 5:30 PM, so the trip took 3 hours and 30 minutes, or 210 minutes.","210 minutes"),
    ("What is the ratio of boys to girls?","There are 12 boys and 8 girls so 12:8 = 3:2. The ratio of boys to girls is 3:2.","3:2"),
    ("Find the value of x + y.","x = 3, y = 4, so x + y = 7.","7"),
    ("Solve for x: 2x + 3 = 11","2x = 8\nx = 4","4"),
    ("How many total eggs?","6 x 12 = 72 eggs (6 dozen).","72"),
    ("How much more does A cost than B?","A costs $15 and B costs $9, so A costs $6 more than B.","6"),
    ("How many kilometers did they run on Tuesday?","On Monday 5 km, on Tuesday twice as much: 2 * 5 = 10 km. So on Tuesday they ran 10 kilometers, which is 5 kilometers more than on Monday.","10"),
    ("How many pages did she read?","She reads 20 pages a day. In a week, that's 7 days × 20 pages = 140 pages. In two weeks, she reads 140 × 2 = 280 pages.","280"),
    ("How much does he spend per week?","He spends $5 × 3 = $15 per day and $15 × 7 = $105 per week.","105"),
    ("How many people are left?","There are 1/4 × 60 = 15 people who left, so 60 − 15 = 45 people are left.","45"),
    ("What's his salary after the raise?","New salary = $50,000 + ($50,000 × 0.10) = $55,000. Thus, his salary after the raise will be $55,000.","55000"),
    ("How many toys does each child get?","Each of the 4 children gets 24 / 4 = 6 toys.","6"),
    ("How many slices does each person get if there are 3 pizzas?","3 pizzas × 8 slices = 24 slices; 24 / 6 people = 4 slices per person.","4"),
    ("What is the perimeter?","The perimeter is 2(l + w) = 2(5 + 3) = 16 cm.","16"),
    ("What is the probability?","P = 3/10 = 0.3, so the probability is 30%.","0.3"),
    ("How much is left?","Therefore, after spending $12 on lunch and $8 on a book, Tim has $30 left.","30"),
    ("How many days will the food last?","48 / (2 × 3) = 48/6 = 8 days. The food lasts 8 days for the 3 dogs.","8"),
    ("How many did she sell?","Let y = the number sold in June. In May it was 54. y = 54/3 = 18. Altogether 54 + 18 = 72. Olga sold 72 combs altogether in May and June.","72"),
    # an object asked for
    (SCHEMA,'{\n  "reasoning": "She has 3 boxes.\nEach has 6.\n3 * 6 = 18",\n  "answer": "18"\n}',"18"),
    (SCHEMA,'Here is the solution in the requested JSON format:\n\n```json\n{\n  "reasoning": "We use \\[ 3 \\times 6 = 18 \\]\n so {18}",\n  "answer": "18"\n}\n```',"18"),
    (SCHEMA,'```json\n{\n  "reasoning": "She says "hello" 3 times",\n  "answer": "$18.00"\n}\n```\nThis is the final result.',"18"),
    (SCHEMA,'{"reasoning": {"step1": "3", "step2": ["a", "b"]}, "answer": 18}',"18"),
    (SCHEMA,'{"reasoning": "x", "answer": "The total is 18 apples."}',"18"),
    (SCHEMA,'{"reasoning": "x", "answer": "18"}}',"18"),
    (SCHEMA,'"reasoning": "3*6=18", "answer": "18"',"18"),
    (SCHEMA,'{"reasoning": "First {a} then } b", "answer": "18"}',"18"),
    (SCHEMA,'{"reasoning": "3 * 6 = 18"\n "answer": "18"}',"18"),
    (SCHEMA,'{\n"reasoning": "3 * 6 = 18",\n"answer": 18 apples\n}',"18"),
    (SCHEMA,'{\n"reasoning": "3 * 6 = 18",\n"answer": 3 * 6 = 18\n}',"18"),
    (SCHEMA,'{\n"reasoning": "3 * 6 = 18",\n"answer": \\boxed{18}\n}',"18"),
    (SCHEMA,'{\n"reasoning": \'\'\'3 * 6 = 18\'\'\',\n"answer": "18"\n}',"18"),
    (SCHEMA,'{\n"reasoning": """3 * 6\n= 18""",\n"answer": "18"\n}',"18"),
    (SCHEMA,'{\n"reasoning": "3 * 6" +\n "= 18",\n"answer": "18"\n}',"18"),
    (SCHEMA,"{\n'reasoning': 'it's 3 * 6',\n'answer': '18'\n}","18"),
    (SCHEMA,'{\n"reasoning": "3 * 6 = 18",\n"answer": "18",\n"confidence": 0.9,\n}',"18"),
    (SCHEMA,'```\n{\n"reasoning": "3 * 6 = 18",\n"answer": "18"\n}\n```\n\nExplanation: she has 3 boxes of 6.',"18"),
    (SCHEMA,'```json\n{\n"reasoning": "3 * 6 = 18\\n\\nSo 18 ```python print(18)```",\n"answer": "18"\n}\n```',"18"),
    (SCHEMA,'{"properties": {"reasoning": "3*6", "answer": "18"}}',"18"),
    (SCHEMA,'{"answer": "18", "reasoning": "3 * 6 = 18, the answer is 18. Then 5."}',"18"),
    (SCHEMA,'[{"reasoning": "3*6", "answer": "18"}]',"18"),
    (SCHEMA,'{"reasoning": "3 * 6 = 18; so the answer is 18","answer": ["18"]}',"18"),
    (SCHEMA,'json\n{"reasoning": "3*6", "answer": "18"}',"18"),
    (SCHEMA,'```json\n{"reasoning": "3*6", "answer": "18"}\n```\n```json\n{"reasoning": "3*6 again", "answer": "18"}\n```',"18"),
    (SCHEMA,"Sure, here's my response:\n\n{'reasoning': [('boxes', 3), ('each', 6)], 'answer': '18'}\n","18"),
    (SCHEMA,'<json>{"reasoning": "3*6", "answer": "18"}</json>',"18"),
    (SCHEMA,'{"reasoning": "3*6=18"}\n{"answer": "18"}',"18"),
    (SCHEMA,'{"reasoning":"Let\\u2019s compute 3*6","answer":"18"}',"18"),
    (SCHEMA,'{"reasoning": "50% of 36\\% is \\$18", "answer": "\\$18"}',"18"),
    (SCHEMA,'{"reasoning": "3*6", "final answer": "18"}',"18"),
    (SCHEMA,'{"reasoning": "3*6", "Answer": 18.0}',"18"),
    (SCHEMA,'{ "reasoning": "3*6",\n "answer": "eighteen" }',"18"),
]
# fmt: on


@pytest.mark.parametrize(("question", "reply", "plain"), NATURAL)
def test_natural_answers(question: str, reply: str, plain: str) -> None:
    read, wanted = extract_answer(reply, question), extract_answer(plain, question)
    assert read is not None
    assert wanted is not None
    assert same(read, wanted, question)
